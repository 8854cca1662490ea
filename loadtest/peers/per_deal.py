"""The script a team has today: SQLAlchemy, deal by deal: load, compute, insert, commit.

Usage: per_deal.py CONNINFO DEALS      prints one JSON line
"""

import json
import sys
import time

from sqlalchemy import BigInteger, DateTime, String, create_engine, select
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from rules import METRICS, figures


class Base(DeclarativeBase):
    pass


class Deal(Base):
    __tablename__ = "deals"
    id = mapped_column(String(36), primary_key=True)
    deal_type = mapped_column(String(50))
    inventory = mapped_column(JSON)
    deleted_at = mapped_column(DateTime(timezone=True))


class Result(Base):
    __tablename__ = "results"
    id = mapped_column(String(36), primary_key=True)
    error = mapped_column(String)


for metric in METRICS:
    setattr(Result, metric, mapped_column(metric, BigInteger))


def main(conninfo, deals):
    engine = create_engine(conninfo.replace("postgres://", "postgresql+psycopg://", 1))
    Result.__table__.drop(engine, checkfirst=True)
    Result.__table__.create(engine)
    start, cost_total = time.perf_counter(), 0
    with Session(engine) as session:
        ids = session.scalars(select(Deal.id).where(Deal.deleted_at.is_(None)).order_by(Deal.id).limit(deals)).all()
        for deal_id in ids:
            deal = session.get(Deal, deal_id)
            try:
                values = figures(deal.deal_type, deal.inventory or [])
                cost_total += values[9]
                session.add(Result(id=deal_id, **dict(zip(METRICS, values))))
            except (KeyError, ValueError) as error:
                session.add(Result(id=deal_id, error=str(error)))
            session.commit()
            session.expunge_all()
    print(json.dumps({"deals": len(ids), "seconds": time.perf_counter() - start, "cost_total": str(cost_total)}))


main(sys.argv[1], int(sys.argv[2]))
