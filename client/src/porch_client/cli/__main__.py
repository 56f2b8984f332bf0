"""`python -m porch_client.cli` is `porch`, where the script is not on the PATH."""

from porch_client.cli import main

main()
