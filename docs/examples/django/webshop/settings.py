"""Settings of the example; the payments' own are in ``PAYSESSION``.

``SHOP_URL`` says where payers reach the shop. With https it is live: then ``DJANGO_SECRET_KEY`` is needed.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

BASE = Path(__file__).parent.parent
SHOP_URL = os.environ.get("SHOP_URL", "http://127.0.0.1:8000").rstrip("/")
LIVE = SHOP_URL.startswith("https:")

DEBUG = not LIVE
SECRET_KEY = os.environ["DJANGO_SECRET_KEY"] if LIVE else "only for the example"
ALLOWED_HOSTS = [urlsplit(SHOP_URL).hostname]
ROOT_URLCONF = "webshop.urls"
INSTALLED_APPS = ["webshop"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "webshop.middleware.ProtectPages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
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

SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = LIVE
SESSION_COOKIE_HTTPONLY, SESSION_COOKIE_SAMESITE = True, "Lax"  # "Strict" would forget a payer who returns
SECURE_HSTS_SECONDS = 3600 if LIVE else 0  # raise it to a year once https works everywhere
# Whether all subdomains speak https is for you to know: then set SECURE_HSTS_INCLUDE_SUBDOMAINS and _PRELOAD.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
# Behind a proxy that ends TLS, and sets this header itself: SECURE_PROXY_SSL_HEADER.
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576  # bytes of a request's body

PAYSESSION = {"config": BASE / "paysession.toml"}
