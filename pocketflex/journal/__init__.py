"""Resume: results kept in a file as they come, so that a call that was killed goes on where it was.

    batch, aio/batch ──▶ shelf      the journals a call has open
                           │
                         book       one journal: sections, found by label, params and occurrence   ◀── code
                           │
                         section    the results of one batch, by index                            ◀── digests, signing
                           │
                         logfile    the file: opened with care, locked, appended to
                           │
                         frames     its bytes: heads, checks                values, arrays: results as bytes

    resumed, missing   what the journal does not have goes to the executor; all comes out in its turn

What is kept are results, never failures. What is read back was computed by this code from this item, or it is refused.
"""
