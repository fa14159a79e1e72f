"""What must outlive a process: who used what, who may, and what is still to be done."""
