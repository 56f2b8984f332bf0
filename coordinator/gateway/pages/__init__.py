"""The pages that operators open: HTML made here, from what the Coordinator tells."""
