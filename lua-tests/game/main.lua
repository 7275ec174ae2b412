-- The script of event_loops_spec.lua or of bench/loops.py.
dofile(os.getenv "SCRIPT")
