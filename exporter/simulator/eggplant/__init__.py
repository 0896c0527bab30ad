"""The simulated Eggplant DAI server: a lab of agents, its replies, and the logins."""
