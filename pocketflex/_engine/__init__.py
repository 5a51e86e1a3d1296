"""The batch engine: a pool of worker processes, its shared memory, its protocol. No code in this file.

        parent                                            worker i (one of N)
  items -> block, published in the ledger -------------> claim grains of it, read in place
                                                          run the item loop
  results <- block <----- arena of worker i ------------ encode results, tell by a record
        arenas:  memfd; each written by one side and read by the other
        ledger:  one for each job; says which grains of which blocks are whose
        board:   a slot for each worker: its job, item and start, its letters and its records
        control: one socketpair for each worker; rings, descriptors of memory
        spawner: one small single-threaded process that forks workers on request

The files in the order of an item's life:

    source            the input, read as needed, readable again after a crash
    blocks            items to bytes: a header, a table, and grains that stand alone
      grains          those that are no columns; arrays and scalars know numpy
      writing         put into memory
      shared          arrays that the user has put in shared memory, whose rows are not copied
      fetching        large items that workers read out of the parent's memory for themselves
    by_value          what travels by value, and how; the only importer of cloudpickle
    payload           one object to a pickle
      failures        exceptions that are sure to load in the parent
    shm               arenas: memory without a name, written by one side and read by the other (lens)
      segments        the pieces that they are made of; exclusive is their lock
    errands           calls of one item, handed to an idle worker without all that follows; hatch is where
    pool              joins dispatch (what is offered) and crew (who runs); one wait for all jobs
      dispatch        decisions without I/O: which block next, blame, what runs again; with course, pace, ranges
      intake          what workers tell, taken in
      job             a job and its inbox
      retired         jobs that ended before their workers let go of them
      deadlines       items that run longer than `timeout`
      delays          items that wait before their next attempt
      turn, poller    which thread waits for all of them, and on what
      crew            the workers as the parent sees them: hired, watched, killed
      member          one of them: told of jobs, called
      stock           what jobs have in common: pickles, ledgers
      part            which items the owner of a job runs itself
      staff           how many there are, and what their ends cost
      home            the one pool of this process: made at first use, ended at exit, dropped by a fork
      standpoint      where its calls stand: folder, sys.path, environment
    ledger            the grains that may be claimed, and whose they are
    transport         the messages; socket_transport and packets carry them
    spawner           the process that forks, kills and reaps; launch starts it, nursery is what runs in it,
                      orders is what they say
      blackbox        where a worker that dies leaves its stack; oom asks the kernel, postmortem tells
    worker            claims, rests, obeys; loading gives it the callable
      desk            where it tells, and waits
      task            a job as it sees it
      wear            whether it has run enough
      claims          one claim: runs its items, hands back what takes too long
      telling         what became of its items, kept until it is told
      returns         results to bytes
      errand          one item that was handed in by itself
    speech            what items print, log and warn of; voice sends it, hearing says it again in the parent,
                      ears is what the parent wants to hear
    board             where a worker says which item it is at, and tells by records (records) what is done
    reading           bytes to items (items, in a worker) and to results (results, in the parent)
    native            the core in C, or the twin: twin, twin_words, twin_ledger, twin_columns, twin_fetch,
                      twin_stack, twin_plain
    sizing            how many workers, how many threads each; role is whether this is one

The engine does not know what a flow is. native/README.md has the formats of the shared memory.
"""
