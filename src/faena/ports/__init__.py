"""The two borders of Faena: what a store must do and what an engine must do."""
