/* paysession-sandbox in place of https://www.paypal.com/sdk/js: PayPal's buttons, as a page uses them.
   https://developer.paypal.com/sdk/js/reference is what it follows, and for buttons that save an account
   without a payment https://developer.paypal.com/sdk/js/v5/save-without-purchase/paypal. The payer approves
   on this page. */
(() => {
  "use strict";

  const base = new URL(document.currentScript.src).origin;
  const PAYER = "__PAYER__";

  const element = (name, text, style) => {
    const made = Object.assign(document.createElement(name), { textContent: text });
    made.setAttribute("style", style);
    return made;
  };

  // PayPal's window: whether the payer agrees, to pay an order or to have the account saved.
  const ask = (token, words, agree) =>
    new Promise((done, failed) => {
      const cover = element("div", "", "position:fixed;inset:0;background:#0009;z-index:2147483647;display:grid;place-items:center");
      cover.dataset.sandbox = "paypal";
      const box = element("div", "", "background:#fff;color:#111;padding:1.2rem;border-radius:.8rem;width:min(24rem,92vw);font:16px system-ui");
      box.append(element("p", `This is not PayPal. ${words} ${token}`, "margin:0 0 1rem"));
      for (const [action, label] of [["approve", agree], ["cancel", "Cancel"]]) {
        const button = element("button", label, "font:inherit;padding:.5rem 1rem;margin:0 .5rem 0 0;border-radius:.4rem;border:1px solid #8888;cursor:pointer");
        button.dataset.action = action;
        button.addEventListener("click", async () => {
          try {
            if (action === "approve") {
              const answer = await fetch(`${base}/sdk/approve?token=${encodeURIComponent(token)}`, { method: "POST" });
              if (!answer.ok) throw new Error(`PayPal knows no ${token}.`);
            }
            done(action === "approve");
          } catch (error) {
            failed(error);
          }
          cover.remove();
        });
        box.append(button);
      }
      cover.append(box);
      document.body.append(cover);
    });

  const Buttons = (options = {}) => {
    let root = null;
    const failed = (error) => {
      if (options.onError) options.onError(error);
      else throw error;
    };
    const redirect = (address) => (window.location.href = address);
    const pay = async (orderID) => {
      const approved = await ask(orderID, "Order", "Pay");
      if (!approved) return options.onCancel && options.onCancel({ orderID }, {});
      if (!options.onApprove) return undefined;
      return options.onApprove(
        { orderID, payerID: PAYER, paymentSource: "paypal", facilitatorAccessToken: "" },
        { restart: () => pay(orderID), redirect }
      );
    };
    const save = async (vaultSetupToken) => {
      const approved = await ask(vaultSetupToken, "The shop wants to save your account:", "Agree");
      if (!approved) return options.onCancel && options.onCancel({}, {});
      if (!options.onApprove) return undefined;
      return options.onApprove({ vaultSetupToken, payerID: PAYER }, { restart: () => save(vaultSetupToken), redirect });
    };
    const created = () => {
      const given = Object.keys(options).filter((name) => /^create[A-Z]/.test(name));
      if (given.length === 1 && ["createOrder", "createVaultSetupToken"].includes(given[0])) return given[0];
      throw new Error(
        `paysession-sandbox imitates buttons with createOrder or with createVaultSetupToken, not with: ${given.join(", ") || "neither"}.`
      );
    };
    const clicked = async () => {
      try {
        let rejected = false;
        const actions = { resolve: () => undefined, reject: () => (rejected = true) };
        if (options.onClick) await options.onClick({ fundingSource: "paypal" }, actions);
        if (rejected) return;
        const name = created();
        const token = await options[name]({ paymentSource: "paypal" }, {});
        if (typeof token !== "string" || !token) throw new Error(`${name} gave no id.`);
        await (name === "createOrder" ? pay(token) : save(token));
      } catch (error) {
        failed(error);
      }
    };
    return {
      isEligible: () => true,
      async render(where) {
        const target = typeof where === "string" ? document.querySelector(where) : where;
        if (!target) throw new Error(`Document is ready and element ${where} does not exist.`);
        root = element("button", "Pay with PayPal", "font:600 16px system-ui;width:100%;padding:.7rem;border:0;border-radius:.4rem;background:#ffc439;color:#111;cursor:pointer");
        root.type = "button";
        root.dataset.sandbox = "paypal-button";
        root.addEventListener("click", clicked);
        target.replaceChildren(root);
        const actions = { enable: () => (root.disabled = false), disable: () => (root.disabled = true) };
        if (options.onInit) await options.onInit({}, actions);
      },
      async close() {
        if (root) root.remove();
      },
    };
  };

  window.paypal = { Buttons, FUNDING: { PAYPAL: "paypal" }, version: "sandbox" };
})();
