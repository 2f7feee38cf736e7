"""The daemon's process: everything is put together, started, watched and stopped here and nowhere else."""
