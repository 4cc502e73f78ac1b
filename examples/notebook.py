# %% [markdown]
# # What our LLM calls cost
#
# Needs `pip install 'tokenledger-otel[notebook]'`, and the ledger in `TOKENLEDGER_DATABASE_URL`.

# %%
from tokenledger.queries import TokenLedgerQueries

queries = TokenLedgerQueries()

# %% [markdown]
# A result is shown as a table, with its coverage.

# %%
report = queries.get_costs_by("feature", days=30)
report

# %%
report.plot()

# %%
queries.get_daily_trend(days=30).plot()

# %% [markdown]
# Why did the last two weeks cost more than the two before? The causes add up exactly.

# %%
why = queries.why("feature", days=14)
why

# %%
why.plot()

# %% [markdown]
# Data frames keep every digit: `Decimal` in pandas, `Decimal(38, scale)` in polars. A cost that is
# not known is missing, and is not 0.

# %%
frame = report.to_polars()
total = frame["cost_usd"].sum()
print(f"{total} USD in {len(frame)} features")

# %%
report.to_pandas().head()
