"""What tests with real programs share: daemons as child processes on free loopback ports, and nothing that pretends."""
