"""What every pool makes of faults: ``python -m bench.faults``; cases.py has the rows."""
