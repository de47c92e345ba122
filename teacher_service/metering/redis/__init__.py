"""The ledger on one Redis: the authority of several replicas."""
