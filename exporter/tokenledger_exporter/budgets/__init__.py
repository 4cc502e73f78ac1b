"""Budgets: set them, and see what is spent, reserved and left.

The functions of `tokenledger_exporter.budgets.budgets` take the ledger's connection string. Apps
enforce budgets by themselves: `tokenledger.BudgetExceeded` is raised before a call is sent.
"""
