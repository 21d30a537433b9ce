"""The shop's own tables."""

from django.db import models


class Order(models.Model):
    """An order, by its number."""

    number = models.CharField(primary_key=True, max_length=40)
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    paid = models.BooleanField(default=False)
    shopper = models.CharField(max_length=64, default="")  # whose browser it is


class Parcel(models.Model):
    """What is sent once an order is paid."""

    order = models.ForeignKey(Order, models.PROTECT)


class Feed(models.Model):
    """How far the payments' events are handled: one row."""

    cursor = models.TextField(default="")
