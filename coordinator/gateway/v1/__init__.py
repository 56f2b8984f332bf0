"""The API of npg_porch 2.2, with the versions of 3.0: for the clients that were written for it."""
