"""`porch drain`: claim tasks, run a command for each, report, until the claim queue is empty.

plan      what is asked for
loop      the story: claim, start, wait, report, stop
outbox    reports that are kept until the coordinator has answered
held      what is in hand
beating   heartbeats, from a thread of their own
process   one running command in its own process group
stopping  SIGTERM and Ctrl-C
command   pure: what a command gets to see of its task, and what is told of its end
"""
