"""What is bound to the routes: parse, plan, run, render. Running is all that waits."""
