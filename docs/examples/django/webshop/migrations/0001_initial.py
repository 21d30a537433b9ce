"""The shop's tables, and one order to begin with."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def add_an_order(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Add the order that the guide pays."""
    apps.get_model("webshop", "Order").objects.create(number="1001", minor=4200, currency="EUR")


class Migration(migrations.Migration):
    """Orders, parcels and the place in the feed of events."""

    initial = True
    operations = [
        migrations.CreateModel(
            "Order",
            [
                ("number", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("minor", models.BigIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("paid", models.BooleanField(default=False)),
                ("shopper", models.CharField(max_length=64, default="")),
            ],
        ),
        migrations.CreateModel(
            "Parcel",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("order", models.ForeignKey("webshop.order", models.PROTECT)),
            ],
        ),
        migrations.CreateModel(
            "Feed",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cursor", models.TextField(default="")),
            ],
        ),
        migrations.RunPython(add_an_order, migrations.RunPython.noop),
    ]
