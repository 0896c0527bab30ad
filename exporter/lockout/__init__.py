"""Protection against a block by the vendor: lock-out guard, queue of calls, ledger of refusals."""
