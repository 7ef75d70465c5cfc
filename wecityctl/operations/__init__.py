"""The operations behind the commands: `(session, options, emit) → result`, one module for each.

Each operation is a visible list of steps. It does not print, prompt or exit: events go to `emit`, and errors that stop
it are raised as `WecityError`. The commands choose a reporter, ask for approval and turn results into exit codes.
"""
