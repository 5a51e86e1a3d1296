"""The work itself: functions, and the items that they are called with."""
