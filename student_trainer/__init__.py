"""Spend a fixed query budget once, distil offline, evaluate, audit and report."""
