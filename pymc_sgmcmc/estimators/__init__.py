"""Control variates and changes of coordinates, as estimators that wrap one."""
