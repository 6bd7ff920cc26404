"""The rules of diagnosis: each looks at the evidence for one cause, and says nothing where it does not see it."""
