"""`aegis policy`: write, test, ship and look after policy sets."""
