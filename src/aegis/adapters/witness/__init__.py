"""What a witness keeps in its directory: who it is, which logs it knows, and what it cosigned last of each."""
