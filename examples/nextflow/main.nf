// One run, as porch has it: params are the task's input.
process count {
    publishDir params.outdir, mode: 'copy'

    input:
    val run

    output:
    path "${run}.counted"

    script:
    """
    ${params.count} '${run}' > '${run}.counted'
    """
}

workflow {
    count(Channel.of(params.Run))
}
