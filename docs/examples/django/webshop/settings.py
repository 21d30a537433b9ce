"""Settings of the example; the payments' own are in ``PAYSESSION``."""

from pathlib import Path

BASE = Path(__file__).parent.parent
SECRET_KEY = "only for the example"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
ROOT_URLCONF = "webshop.urls"
INSTALLED_APPS = ["webshop"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE / "shop.db",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},  # two workers take turns; PostgreSQL locks the row
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

PAYSESSION = {"config": BASE / "paysession.toml"}
