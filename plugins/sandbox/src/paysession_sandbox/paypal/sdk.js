/* paysession-sandbox in place of https://www.paypal.com/sdk/js: PayPal's buttons, as a page uses them.
   https://developer.paypal.com/sdk/js/reference is what it follows. The payer approves on this page. */
(() => {
  "use strict";

  const base = new URL(document.currentScript.src).origin;
  const PAYER = "__PAYER__";

  const element = (name, text, style) => {
    const made = Object.assign(document.createElement(name), { textContent: text });
    made.setAttribute("style", style);
    return made;
  };

  // PayPal's window: whether the payer pays.
  const ask = (orderID) =>
    new Promise((done) => {
      const cover = element("div", "", "position:fixed;inset:0;background:#0009;z-index:2147483647;display:grid;place-items:center");
      cover.dataset.sandbox = "paypal";
      const box = element("div", "", "background:#fff;color:#111;padding:1.2rem;border-radius:.8rem;width:min(24rem,92vw);font:16px system-ui");
      box.append(element("p", `This is not PayPal. Order ${orderID}`, "margin:0 0 1rem"));
      for (const [action, label] of [["approve", "Pay"], ["cancel", "Cancel"]]) {
        const button = element("button", label, "font:inherit;padding:.5rem 1rem;margin:0 .5rem 0 0;border-radius:.4rem;border:1px solid #8888;cursor:pointer");
        button.dataset.action = action;
        button.addEventListener("click", async () => {
          if (action === "approve") await fetch(`${base}/sdk/approve?token=${encodeURIComponent(orderID)}`, { method: "POST" });
          cover.remove();
          done(action === "approve");
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
    const pay = async (orderID) => {
      const approved = await ask(orderID);
      if (!approved) return options.onCancel && options.onCancel({ orderID }, {});
      if (!options.onApprove) return undefined;
      return options.onApprove(
        { orderID, payerID: PAYER, paymentSource: "paypal", facilitatorAccessToken: "" },
        { restart: () => pay(orderID), redirect: (address) => (window.location.href = address) }
      );
    };
    const clicked = async () => {
      try {
        let rejected = false;
        const actions = { resolve: () => undefined, reject: () => (rejected = true) };
        if (options.onClick) await options.onClick({ fundingSource: "paypal" }, actions);
        if (rejected) return;
        if (!options.createOrder) throw new Error("paysession-sandbox imitates buttons with createOrder only.");
        const orderID = await options.createOrder({ paymentSource: "paypal" }, {});
        if (typeof orderID !== "string" || !orderID) throw new Error("createOrder gave no order id.");
        await pay(orderID);
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
