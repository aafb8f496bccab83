"""The flow of inclusion, from files to women: the stages and their lists, those of a study, and the flow diagram."""
