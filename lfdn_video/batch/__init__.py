"""Many files in one run: folders, lists, and folders that are watched.

    items.py      which files, and the target of each
    manifest.py   what is finished, in the target folder
    plan.py       what is left to do for an item
    run.py        the loop: items to workers, results to the manifest
    ledger.py     what came of each file
    meter.py      how far it is
    workers.py    the processes that restore;  worker.py is what runs in one
    messages.py   to and from them
    division.py   long videos in parts, which join.py joins
    cluster.py    the processes of a Ray cluster; cluster_task.py is what runs in one
    jobs.py       one job, wherever;  pool.py: what does jobs
    watch.py      files that appear while the run goes on
    values.py     options, results and progress

A run needs nothing but its target folder to go on where another one ended, however that ended.
"""
