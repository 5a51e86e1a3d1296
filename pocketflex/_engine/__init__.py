"""The batch engine: a pool of worker processes, its shared memory, its protocol. No code in this file.

        parent                                            worker i (one of N)
  items -> blocks ---- arena (memfd) ------------------> read in place, run the item loop
  results <- blocks <-- arena of worker i -------------- encode results
        control: one socketpair per worker, small packets only
        board:   one shared page; each worker publishes the range, the item and its start
        spawner: one small single-threaded process that forks workers on request

The files in the order of an item's life:

    source            the input, read as needed, readable again after a crash
    blocks            items to bytes: SCALARS, ROWS, PICKLED
    payload           one object to a pickle; the only importer of cloudpickle
      failures        exceptions that are sure to load in the parent
    shm               arenas: memory without a name, written by one side and read by the other
    pool              joins dispatch (what goes where) and crew (who runs); one wait for all jobs
      dispatch        decisions without I/O: which range where, blame, what runs again; with pace and ranges
      job             a job and its inbox
      retired         jobs that ended before their items did
      deadlines       items that run longer than `timeout`
      turn, poller    which thread waits for all of them, and on what
      crew            the workers as the parent sees them: hired, watched, killed
      staff           how many there are, and what their ends cost
      home            the one pool of this process: made at first use, ended at exit, dropped by a fork
    transport         the messages and the protocol; socket_transport and packets carry them
    spawner           the process that forks, kills and reaps; nursery is what runs in it
    worker            runs a range; loading gives it the callable, board is where it says which item it is at
    reading           bytes to items (worker) and to results (parent)
    sizing            how many workers, how many threads each

The engine does not know what a flow is.
"""
