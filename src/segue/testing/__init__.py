"""The public test kit: what projects that build on Segue (and Segue itself) test with."""
