"""Where things are."""

from django.urls import path

from webshop import views

urlpatterns = [
    path("orders/<str:number>", views.show, name="show"),
    path("orders/<str:number>/pay", views.pay, name="pay"),
    path("back/<str:session_id>", views.back, name="back"),
    path("pay/webhooks/<str:provider>", views.webhook, name="webhook"),
]
