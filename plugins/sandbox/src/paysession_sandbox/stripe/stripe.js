/* paysession-sandbox in place of https://js.stripe.com: the public surface that a page uses to take a payment.
   https://docs.stripe.com/js is what it follows. It speaks to the server that it was loaded from, and to nothing else. */
(() => {
  "use strict";

  const base = new URL(document.currentScript.src).origin;
  const NAMES = { card: "Card", sepa_debit: "SEPA Direct Debit", ideal: "iDEAL", bancontact: "Bancontact" };
  const REDIRECTS = ["ideal", "bancontact"];

  class IntegrationError extends Error {
    constructor(message) {
      super(message);
      this.name = "IntegrationError";
    }
  }

  const idOf = (clientSecret) => {
    const found = /^((?:pi|seti)_\w+)_secret_\w+$/.exec(clientSecret || "");
    if (!found) throw new IntegrationError(`Invalid value for clientSecret: '${clientSecret}'.`);
    return found[1];
  };
  const isSetup = (clientSecret) => idOf(clientSecret).startsWith("seti_");
  const pathOf = (clientSecret) =>
    `/v1/${isSetup(clientSecret) ? "setup_intents" : "payment_intents"}/${idOf(clientSecret)}`;

  // a: {b: 1} becomes a[b]=1, as Stripe's API takes it.
  const asForm = (value, name, form) => {
    if (value === undefined || value === null) return form;
    if (Array.isArray(value)) value.forEach((part, place) => asForm(part, `${name}[${place}]`, form));
    else if (typeof value === "object")
      for (const [key, part] of Object.entries(value)) asForm(part, name ? `${name}[${key}]` : key, form);
    else form.append(name, String(value));
    return form;
  };

  // --- the element that the payer types into ---

  class PaymentElement {
    constructor(elements, options) {
      this._elements = elements;
      this._options = options || {};
      this._listeners = {};
      this._inputs = {};
    }

    mount(where) {
      const target = typeof where === "string" ? document.querySelector(where) : where;
      if (!target) throw new IntegrationError(`The selector you specified (${where}) applies to no DOM elements.`);
      this._target = target;
      this._elements._ready.then(
        (kinds) => {
          this._draw(kinds);
          this._tell("ready", { elementType: "payment" });
        },
        (error) => this._tell("loaderror", { elementType: "payment", error })
      );
    }

    _draw(kinds) {
      const root = document.createElement("div");
      root.className = "StripeElement";
      root.dataset.sandbox = "payment-element";
      const style =
        "font:inherit;display:block;width:100%;box-sizing:border-box;padding:.5em;margin:.15em 0 .6em;" +
        "border:1px solid #8886;border-radius:.4em;background:transparent;color:inherit";
      const add = (label, name, more) => {
        const holder = document.createElement("label");
        holder.textContent = label;
        const input = Object.assign(document.createElement(more && more.options ? "select" : "input"), { name });
        input.setAttribute("style", style);
        for (const [key, text] of Object.entries((more && more.options) || {}))
          input.append(Object.assign(document.createElement("option"), { value: key, textContent: text }));
        if (more && more.placeholder) input.placeholder = more.placeholder;
        input.addEventListener("input", () => this._changed());
        holder.append(input);
        root.append(holder);
        this._inputs[name] = { input, holder, kinds: more && more.kinds };
      };
      add("Pay with", "type", { options: Object.fromEntries(kinds.map((kind) => [kind, NAMES[kind] || kind])) });
      add("Card number", "number", { kinds: ["card"], placeholder: "4242 4242 4242 4242" });
      add("Expiration date", "expiry", { kinds: ["card"], placeholder: "MM / YY" });
      add("Security code", "cvc", { kinds: ["card"], placeholder: "CVC" });
      add("IBAN", "iban", { kinds: ["sepa_debit"], placeholder: "DE89 3704 0044 0532 0130 00" });
      add("Full name", "name", { kinds: ["sepa_debit", ...REDIRECTS] });
      add("Email", "email", { kinds: ["sepa_debit"] });
      this._target.replaceChildren(root);
      this._changed();
    }

    get _type() {
      return this._inputs.type ? this._inputs.type.input.value : "card";
    }

    _value(name) {
      return this._inputs[name] ? this._inputs[name].input.value.trim() : "";
    }

    _changed() {
      for (const { holder, kinds } of Object.values(this._inputs))
        holder.style.display = !kinds || kinds.includes(this._type) ? "" : "none";
      this._tell("change", {
        elementType: "payment",
        complete: !this._problem(),
        empty: !this._value("number") && !this._value("iban"),
        collapsed: false,
        value: { type: this._type },
      });
    }

    _problem() {
      const wanted = { card: ["number", "expiry", "cvc"], sepa_debit: ["iban", "name", "email"] }[this._type] || [];
      const missing = wanted.find((name) => !this._value(name));
      if (missing) return { type: "validation_error", code: `incomplete_${missing}`, message: `Your ${missing} is incomplete.` };
      if (this._type === "card" && !/^\d{1,2}\s*\/\s*\d{2,4}$/.test(this._value("expiry")))
        return { type: "validation_error", code: "incomplete_expiry", message: "Your card's expiration date is incomplete." };
      return null;
    }

    _data(more) {
      const type = this._type;
      const billing = { name: this._value("name"), email: this._value("email"), ...((more && more.billing_details) || {}) };
      const data = { type, billing_details: Object.fromEntries(Object.entries(billing).filter(([, text]) => text)) };
      if (type === "card") {
        const [month, year] = this._value("expiry").split("/").map((part) => part.trim());
        data.card = { number: this._value("number"), exp_month: month, exp_year: year, cvc: this._value("cvc") };
      }
      if (type === "sepa_debit") data.sepa_debit = { iban: this._value("iban") };
      return data;
    }

    on(event, listener) {
      (this._listeners[event] = this._listeners[event] || []).push(listener);
      return this;
    }

    once(event, listener) {
      const wrapped = (payload) => {
        this.off(event, wrapped);
        listener(payload);
      };
      return this.on(event, wrapped);
    }

    off(event, listener) {
      this._listeners[event] = (this._listeners[event] || []).filter((known) => listener && known !== listener);
      return this;
    }

    _tell(event, payload) {
      for (const listener of [...(this._listeners[event] || [])]) listener(payload);
    }

    unmount() {
      if (this._target) this._target.replaceChildren();
    }

    destroy() {
      this.unmount();
      this._elements._element = null;
    }

    update(options) {
      Object.assign(this._options, options);
    }

    focus() {
      if (this._inputs.number) this._inputs.number.input.focus();
    }

    blur() {
      for (const { input } of Object.values(this._inputs)) input.blur();
    }

    clear() {
      for (const [name, { input }] of Object.entries(this._inputs)) if (name !== "type") input.value = "";
      this._changed();
    }

    collapse() {}
  }

  class Elements {
    constructor(stripe, options) {
      this._stripe = stripe;
      this._options = options || {};
      this._element = null;
      this._ready = this._kinds();
      this._ready.catch(() => {}); // it is told by `loaderror`
    }

    async _kinds() {
      const { clientSecret, paymentMethodTypes } = this._options;
      if (!clientSecret) return paymentMethodTypes || ["card"];
      const { found, error } = await this._stripe._call("GET", pathOf(clientSecret), { client_secret: clientSecret });
      if (error) throw error;
      return found.payment_method_types;
    }

    create(type, options) {
      if (type !== "payment") throw new IntegrationError(`paysession-sandbox has no element '${type}': use the Payment Element.`);
      if (this._element) throw new IntegrationError("Can only create one Element of type payment.");
      this._element = new PaymentElement(this, options);
      return this._element;
    }

    getElement(type) {
      return type === "payment" ? this._element : null;
    }

    async submit() {
      if (!this._element) throw new IntegrationError("elements.submit() needs a Payment Element.");
      const error = this._element._problem();
      return error ? { error } : { selectedPaymentMethod: this._element._type };
    }

    update(options) {
      Object.assign(this._options, options);
    }

    async fetchUpdates() {
      return {};
    }
  }

  // --- the bank's page, in a frame over the shop's ---

  const ask = (address) =>
    new Promise((done) => {
      const cover = document.createElement("div");
      cover.dataset.sandbox = "bank";
      cover.setAttribute("style", "position:fixed;inset:0;background:#0009;z-index:2147483647;display:grid;place-items:center");
      const frame = document.createElement("iframe");
      frame.src = `${address}&framed=1`;
      frame.title = "Your bank";
      frame.setAttribute("style", "width:min(28rem,94vw);height:24rem;border:0;border-radius:.8rem;background:#fff");
      cover.append(frame);
      const heard = (message) => {
        if (message.origin !== base || !message.data || message.data.sandbox !== "done") return;
        window.removeEventListener("message", heard);
        cover.remove();
        done();
      };
      window.addEventListener("message", heard);
      document.body.append(cover);
    });

  // --- Checkout's page, in a frame of the shop's ---

  class EmbeddedPage {
    constructor(clientSecret, options) {
      const found = /^(cs_test_\w+?)_secret_\w+$/.exec(clientSecret || "");
      if (!found) throw new IntegrationError(`Invalid value for clientSecret: '${clientSecret}'.`);
      this._address = `${base}/c/pay/${found[1]}?${new URLSearchParams({ client_secret: clientSecret })}`;
      this._complete = options.onComplete;
    }

    mount(where) {
      const target = typeof where === "string" ? document.querySelector(where) : where;
      if (!target) throw new IntegrationError(`The selector you specified (${where}) applies to no DOM elements.`);
      const frame = document.createElement("iframe");
      frame.dataset.sandbox = "embedded-page";
      frame.src = this._address;
      frame.title = "Payment";
      frame.setAttribute("style", "width:100%;height:48rem;border:0");
      this._heard = ({ origin, source, data }) => {
        if (origin !== base || source !== frame.contentWindow || !data || data.sandbox !== "paid") return;
        if (data.address) window.location.href = data.address;
        else if (this._complete) this._complete();
      };
      window.addEventListener("message", this._heard);
      this._target = target;
      target.replaceChildren(frame);
    }

    unmount() {
      window.removeEventListener("message", this._heard);
      if (this._target) this._target.replaceChildren();
    }

    destroy() {
      this.unmount();
      EmbeddedPage.only = null;
    }
  }

  // --- Stripe ---

  class StripeObject {
    constructor(key, options) {
      if (typeof key !== "string" || !key.startsWith("pk_"))
        throw new IntegrationError("Please call Stripe() with your publishable key: it begins with pk_.");
      this._key = key;
      this._account = options && options.stripeAccount;
    }

    async _call(method, path, params) {
      const form = asForm(params, "", new URLSearchParams());
      const headers = { Authorization: `Bearer ${this._key}` };
      if (this._account) headers["Stripe-Account"] = this._account;
      const query = method === "GET" ? `?${form}` : "";
      try {
        const answer = await fetch(`${base}${path}${query}`, { method, headers, body: method === "GET" ? undefined : form });
        const found = await answer.json();
        return answer.ok ? { found } : { error: found.error };
      } catch (failure) {
        return { error: { type: "api_connection_error", message: "We are experiencing issues connecting to our payments provider." } };
      }
    }

    elements(options) {
      return new Elements(this, options);
    }

    confirmPayment(options) {
      return this._confirm(options, "paymentIntent");
    }

    confirmSetup(options) {
      return this._confirm(options, "setupIntent");
    }

    async _confirm(options, name) {
      const { elements, confirmParams = {}, redirect = "always" } = options;
      const clientSecret = options.clientSecret || (elements && elements._options.clientSecret);
      if (!clientSecret) throw new IntegrationError(`stripe.confirm${name === "setupIntent" ? "Setup" : "Payment"}() needs a clientSecret.`);
      if (redirect === "always" && !confirmParams.return_url)
        throw new IntegrationError("stripe.confirmPayment() needs confirmParams.return_url, or redirect: 'if_required'.");
      const { payment_method_data: more, ...params } = confirmParams;
      const body = { ...params, client_secret: clientSecret, use_stripe_sdk: true };
      if (elements && elements._element) {
        const error = elements._element._problem();
        if (error) return { error };
        body.payment_method_data = elements._element._data(more);
      }
      const { found, error } = await this._call("POST", `${pathOf(clientSecret)}/confirm`, body);
      if (error) return { error };
      const after = await this._next(found, clientSecret, name);
      if (after.error || redirect !== "always") return after;
      return this._leave(after[name], name, confirmParams.return_url);
    }

    // Go where next_action leads; then tell what has become of it.
    async _next(intent, clientSecret, name) {
      if (intent.status !== "requires_action" || !intent.next_action) return { [name]: intent };
      if (intent.next_action.type === "redirect_to_url") {
        window.location.href = intent.next_action.redirect_to_url.url;
        return new Promise(() => {}); // the page goes away
      }
      await ask(intent.next_action.use_stripe_sdk.stripe_js);
      const { found, error } = await this._call("GET", pathOf(clientSecret), { client_secret: clientSecret });
      if (error) return { error };
      const failed = found.last_payment_error || found.last_setup_error;
      if (found.status === "requires_payment_method" && failed) return { error: { ...failed, [name === "setupIntent" ? "setup_intent" : "payment_intent"]: found } };
      return { [name]: found };
    }

    _leave(intent, name, address) {
      const kind = name === "setupIntent" ? "setup_intent" : "payment_intent";
      const place = new URL(address, window.location.href);
      place.searchParams.set(kind, intent.id);
      place.searchParams.set(`${kind}_client_secret`, intent.client_secret);
      place.searchParams.set("redirect_status", "succeeded");
      window.location.href = place.href;
      return new Promise(() => {});
    }

    async handleNextAction({ clientSecret }) {
      const name = isSetup(clientSecret) ? "setupIntent" : "paymentIntent";
      const { found, error } = await this._call("GET", pathOf(clientSecret), { client_secret: clientSecret });
      if (error) return { error };
      if (found.status !== "requires_action")
        throw new IntegrationError(`handleNextAction: the Intent is not in the requires_action state (it is ${found.status}).`);
      return this._next(found, clientSecret, name);
    }

    async _retrieve(clientSecret, name) {
      const { found, error } = await this._call("GET", pathOf(clientSecret), { client_secret: clientSecret });
      return error ? { error } : { [name]: found };
    }

    retrievePaymentIntent(clientSecret) {
      return this._retrieve(clientSecret, "paymentIntent");
    }

    retrieveSetupIntent(clientSecret) {
      return this._retrieve(clientSecret, "setupIntent");
    }

    confirmCardPayment(clientSecret, data) {
      const method = data && data.payment_method;
      const params = typeof method === "string" ? { payment_method: method } : {};
      return this._card(clientSecret, { ...params, return_url: data && data.return_url });
    }

    async _card(clientSecret, params) {
      const body = { ...params, client_secret: clientSecret, use_stripe_sdk: true };
      const { found, error } = await this._call("POST", `${pathOf(clientSecret)}/confirm`, body);
      return error ? { error } : this._next(found, clientSecret, "paymentIntent");
    }

    async createEmbeddedCheckoutPage(options) {
      if (EmbeddedPage.only) throw new IntegrationError("You cannot have multiple Embedded Checkout objects.");
      const { fetchClientSecret, clientSecret } = options || {};
      const made = new EmbeddedPage(fetchClientSecret ? await fetchClientSecret() : clientSecret, options || {});
      return (EmbeddedPage.only = made);
    }

    async createPaymentMethod(options) {
      const element = options.elements && options.elements._element;
      const problem = element && element._problem();
      if (problem) return { error: problem };
      const body = element ? element._data(options.params) : options;
      const { found, error } = await this._call("POST", "/v1/payment_methods", body);
      return error ? { error } : { paymentMethod: found };
    }
  }

  for (const name of ["createConfirmationToken", "createToken", "createSource", "initCheckout", "initEmbeddedCheckout", "paymentRequest", "redirectToCheckout"])
    StripeObject.prototype[name] = () => {
      throw new IntegrationError(`paysession-sandbox does not imitate stripe.${name}().`);
    };

  window.Stripe = (key, options) => new StripeObject(key, options);
  window.Stripe.version = "sandbox";
})();
