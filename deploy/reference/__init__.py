"""The reference in the documentation, made from the code so that it cannot tell anything else."""
