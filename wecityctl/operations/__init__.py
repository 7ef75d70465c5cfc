"""What the commands do, callable from anywhere: `(session, options, emit) → result`, one module for each operation.

Each operation is a visible list of steps. It prints nothing, asks nobody and ends no process: what happens comes as
events to `emit`, what stops it is raised as `WecityError`. Commands choose a reporter, ask for approval and make exit
codes of results.
"""
