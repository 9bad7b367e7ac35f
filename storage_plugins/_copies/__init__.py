"""What is saved on this computer: verified copies, and receipts."""
