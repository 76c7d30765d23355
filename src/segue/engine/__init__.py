"""Drives the kernel: claims runs, carries out effects, commits in groups, keeps timers, recovers."""
