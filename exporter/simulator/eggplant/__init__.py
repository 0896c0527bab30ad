"""The simulated Eggplant DAI server: a lab of agents, the replies and the logins."""
