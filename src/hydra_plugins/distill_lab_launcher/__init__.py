"""The launcher of sweeps: one job, one process; finished jobs are skipped."""
