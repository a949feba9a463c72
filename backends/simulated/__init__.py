"""Run trials in virtual time, with faults drawn from one seed."""
