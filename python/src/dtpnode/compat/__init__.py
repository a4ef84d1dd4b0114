"""Interfaces of other systems, for scripts and notebooks that were written for them."""
