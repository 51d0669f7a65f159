"""Events as other systems read them, and the cursor that says how far they did. Pure."""
