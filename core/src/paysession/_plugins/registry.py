"""Finding plugins, checking them, and the typed handle through which one provider is called.

There is one ``pluggy.PluginManager`` per selected provider, holding it and the wrappers that stand
around it, and one per observer: so a session is seen by its own provider only, and an observer that
raises does not stop the next. A plugin that does not keep the contract is refused when it is
registered, by a sentence that names the distribution it comes from.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
import traceback
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import pluggy

from paysession._plugins.compatibility import check_version
from paysession._plugins.declared import check_capabilities
from paysession._plugins.settings import TEST_MODES, Table, build, listed, redact, secrets_of
from paysession.errors import (
    ConfigurationError,
    Declined,
    InvalidData,
    Mistaken,
    NotApplied,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
    ProviderLoadError,
    ProviderNotFound,
    SettingsError,
    WebhookRejected,
)
from paysession.hooks import PROJECT, ObserverHooks, ProviderHooks, hookimpl
from paysession.outcome import Capabilities, Changes, Outcome, Snapshot, WebhookEvent
from paysession.text import as_text, is_storable, shown
from paysession.values import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
    from datetime import datetime
    from importlib.metadata import EntryPoint

    from pluggy import HookimplOpts, HookspecOpts

    from paysession.operation import Kind, Operation
    from paysession.session import PaymentSession

__all__ = ["Installed", "Provider", "Registry", "installed"]

logger = logging.getLogger("paysession")

_REQUIRED: Final = ("initiate", "authorize", "cancel")


def _hooks_of(spec: type) -> frozenset[str]:
    return frozenset(name for name in vars(spec) if hasattr(getattr(spec, name), f"{PROJECT}_spec"))


PROVIDER_HOOKS: Final = _hooks_of(ProviderHooks)
OBSERVER_HOOKS: Final = _hooks_of(ObserverHooks)
# What every object has; none of it is a hook.
_SPECIAL: Final = frozenset(dir(type("", (), {})()))


# --- finding --------------------------------------------------------------------------------------


class Installed:
    """A provider or plugin that an installed distribution offers; nothing of it is imported yet.

    Attributes:
        name: The name of the entry point.
        distribution: The distribution's name and version, or the names of several.
    """

    def __init__(self, name: str, entry_points: Sequence[EntryPoint]) -> None:
        self.name = name
        self._entry_points = entry_points
        self.distribution = ", ".join(
            sorted({f"{ep.dist.name} {ep.dist.version}" if ep.dist else ep.value for ep in entry_points})
        )

    def load(self) -> Any:
        """Import what the entry point names.

        Raises:
            ProviderLoadError: Two distributions claim the name, or the import fails.
        """
        if len({(ep.dist.name if ep.dist else None, ep.value) for ep in self._entry_points}) > 1:
            raise ProviderLoadError(
                f"{self.name!r} is offered by more than one distribution: {self.distribution}; "
                "uninstall all but one"
            )
        try:
            return self._entry_points[0].load()
        except Exception as error:
            raise ProviderLoadError(
                f"{self.name!r} of {self.distribution} cannot be imported: {type(error).__name__}: {error}"
            ) from error


def installed(group: str, name: str | None = None) -> dict[str, Installed]:
    """Return what installed distributions offer in an entry point group, by name."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - scanned only when something is selected

    found: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points(group=group) if name is None else entry_points(group=group, name=name):
        found.setdefault(entry_point.name, []).append(entry_point)
    return {key: Installed(key, points) for key, points in sorted(found.items())}


def _built(name: str, found: Installed, settings: dict[str, Any], environ: Mapping[str, str]) -> Any:
    """Make a plugin from its settings; whatever else goes wrong in its own code is reported as that."""
    factory = found.load()
    try:
        return build(name, factory, settings, environ)
    except PaysessionError:
        raise
    except Exception as error:  # noqa: BLE001 - its text is left out: it may show a setting
        raise ProviderLoadError(
            f"{name!r} of {found.distribution} cannot be made: it raised {type(error).__name__}"
        ) from None


# --- checking -------------------------------------------------------------------------------------


def _marked(plugin: object) -> dict[str, tuple[Callable[..., Any], Mapping[str, Any]]]:
    """Return what a plugin marks as a hook, by its attribute: the function, and the options it was given.

    Attributes are read where they are stored, so that no property is asked.
    """
    stored: dict[str, Any] = {}
    for cls in reversed(type(plugin).__mro__):
        stored.update(vars(cls))
    stored.update(getattr(plugin, "__dict__", {}))
    found: dict[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {}
    for name in sorted(stored.keys() - _SPECIAL):
        function = getattr(stored[name], "__func__", stored[name])
        options: Mapping[str, Any] | None = getattr(function, f"{PROJECT}_impl", None)
        if callable(function) and options is not None:
            found[name] = function, options
    return found


def _implementations(plugin: object) -> dict[str, tuple[Callable[..., Any], bool]]:
    """Return the hooks that a plugin implements: the function, and whether it is a wrapper."""
    return {
        options.get("specname") or name: (function, bool(options.get("wrapper")))
        for name, (function, options) in _marked(plugin).items()
    }


@cache
def _arguments(spec: Callable[..., Any]) -> list[str]:
    return [parameter for parameter in inspect.signature(spec).parameters if parameter != "self"]


def _check_hooks(plugin: object, label: str, hooks: Mapping[str, tuple[Callable[..., Any], bool]]) -> None:
    check_version(plugin, label)
    for name, (function, _) in hooks.items():
        spec = getattr(ProviderHooks, name, None) or getattr(ObserverHooks, name, None)
        if spec is None or name not in PROVIDER_HOOKS | OBSERVER_HOOKS:
            raise ProviderLoadError(f"{label} implements an unknown hook {name!r}; see paysession.hooks")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ProviderLoadError(
                f"{label}: hook {name!r} is async; hooks are plain functions and run in threads"
            )
        known = _arguments(spec)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == "self":
                continue
            if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                raise ProviderLoadError(
                    f"{label}: hook {name!r} takes {parameter} as keyword-only or variable; "
                    f"its arguments are {', '.join(known)}"
                )
            if parameter.default is not parameter.empty:
                # pluggy never fills in an argument that has a default.
                raise ProviderLoadError(
                    f"{label}: hook {name!r} gives its argument {parameter.name!r} a default; leave it out"
                )
            if parameter.name not in known:
                raise ProviderLoadError(
                    f"{label}: hook {name!r} takes an argument {parameter.name!r}; "
                    f"it may take {', '.join(known) or 'none'}"
                )


def _check_provider(
    plugin: object, label: str, hooks: Mapping[str, tuple[Callable[..., Any], bool]], own: set[str]
) -> Capabilities:
    _check_hooks(plugin, label, hooks)
    capabilities = getattr(plugin, "capabilities", None)
    if not isinstance(capabilities, Capabilities):
        raise ProviderLoadError(f"{label} has no capabilities: set capabilities = Capabilities(...)")
    needed = list(_REQUIRED)
    needed += ["capture"] if capabilities.capture != "none" else []
    needed += ["refund"] if capabilities.refund != "none" else []
    needed += ["retrieve"] if capabilities.lookup != "none" and not capabilities.local else []
    needed += ["update"] if capabilities.increment else []
    if capabilities.increment and "retrieve" not in needed and not capabilities.local:
        raise ProviderLoadError(
            f"{label} raises what is authorized (increment), and cannot be queried: nothing would show "
            "whether an increment in doubt has happened"
        )
    if capabilities.unsigned_webhooks and "retrieve" not in needed:
        raise ProviderLoadError(
            f"{label} takes notifications that nobody can verify (unsigned_webhooks), and cannot be queried: "
            "nothing of what they say could be believed"
        )
    for name in needed:
        if name not in own:
            why = "every provider needs it" if name in _REQUIRED else "its capabilities declare it"
            raise ProviderLoadError(f"{label} does not implement the hook {name!r}, and {why}")
    check_capabilities(capabilities, label, own)
    return capabilities


def _check_plugin(plugin: object, label: str) -> None:
    hooks = _implementations(plugin)
    _check_hooks(plugin, label, hooks)
    if not hooks:
        raise ProviderLoadError(f"{label} implements no hook: mark its methods with @hookimpl")
    for name, (_, wrapper) in hooks.items():
        if name in PROVIDER_HOOKS and not wrapper:
            raise ProviderLoadError(
                f"{label} answers the provider hook {name!r}; a plugin may only wrap it "
                "(@hookimpl(wrapper=True)), a provider is selected in providers="
            )


class _PluginManager(pluggy.PluginManager):
    """Looks at what is marked only: pluggy looks at every attribute, twice, which takes most of its time."""

    _names: Container[str] = ()

    def register(self, plugin: object, name: str | None = None) -> str | None:
        self._names = _marked(plugin)
        return super().register(plugin, name)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> HookimplOpts | None:
        return super().parse_hookimpl_opts(plugin, name) if name in self._names else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> HookspecOpts | None:
        return None if name in _SPECIAL else super().parse_hookspec_opts(module_or_class, name)


def _manager(spec: type, plugins: Iterable[tuple[str, object]], label: str) -> pluggy.PluginManager:
    manager = _PluginManager(PROJECT)
    manager.add_hookspecs(spec)
    for name, plugin in plugins:
        try:
            manager.register(plugin, name)
        except (pluggy.PluginValidationError, ValueError, TypeError) as error:
            # pluggy's message prints the plugin's repr, settings and all.
            raise ProviderLoadError(
                f"{label}: {name!r} cannot be registered: {type(error).__name__}"
            ) from None
    return manager


# --- calling --------------------------------------------------------------------------------------


class _Witness:
    """Stands innermost and notes that the provider itself was reached.

    A wrapper that raises before that vetoes: nothing was sent. One that raises after it hides an
    answer, and what it says about the provider's effect proves nothing.
    """

    def __init__(self) -> None:
        self.seen = threading.local()

    def _note(self) -> Generator[None, Any, Any]:
        self.seen.reached = True
        try:
            answer = yield
        except PaysessionError as error:
            self.seen.error = error
            raise
        return answer

    @hookimpl(wrapper=True)
    def initiate(self) -> Generator[None, Any, Any]:
        return (yield from self._note())

    update = authorize = capture = refund = cancel = initiate


def _called(hook: pluggy.HookCaller) -> Callable[..., Any]:
    """Return how a hook is called: straight, where nothing is wrapped around it; a fifth of the cost."""
    impls = hook.get_hookimpls()
    if len(impls) != 1:
        return hook
    function, names = impls[0].function, impls[0].argnames

    def call(**given: object) -> Any:
        return function(*[given[name] for name in names])

    if len(names) < 2:  # noqa: PLR2004 - `itemgetter` makes a tuple of more than one
        return call
    chosen = itemgetter(*names)

    def call_with(**given: object) -> Any:
        return function(*chosen(given))

    return call_with


class Provider:
    """One selected provider: its capabilities, and its hooks as typed calls.

    Attributes:
        name: The name under which it was selected.
        plugin: The provider itself.
        capabilities: What it declared.
        distribution: Where it comes from.
        mode: Whose money it moves, in one word (``test``, ``live``), if it says so.
    """

    def __init__(
        self, name: str, plugin: object, wrappers: Sequence[tuple[str, object]] = (), distribution: str = ""
    ) -> None:
        self.name = name
        self.plugin = plugin
        self.distribution = distribution
        label = f"provider {name!r}" + (f" of {distribution}" if distribution else "")
        hooks = _implementations(plugin)
        self._own = {name for name, (_, wrapper) in hooks.items() if not wrapper}
        self.capabilities = _check_provider(plugin, label, hooks, self._own)
        mode = getattr(plugin, "mode", None)
        self.mode = mode if isinstance(mode, str) and mode else None
        witness = _Witness() if wrappers else None
        inner = [(name, plugin)] if witness is None else [(name, plugin), ("paysession witness", witness)]
        self._seen = witness.seen if witness is not None else None
        # A plugin may bear the name of a provider: a package may well offer one of each.
        around = [(f"plugin {wrapper}", part) for wrapper, part in wrappers]
        manager = _manager(ProviderHooks, [*inner, *around], label)
        self._hooks: dict[str, Any] = {hook: _called(getattr(manager.hook, hook)) for hook in PROVIDER_HOOKS}
        fields = getattr(plugin, "__dict__", None) or {
            slot: getattr(plugin, slot, None)
            for cls in type(plugin).__mro__
            for slot in getattr(cls, "__slots__", ())
        }
        self._secrets = secrets_of(list(fields.values()))

    def implements(self, hook: str) -> bool:
        """Return whether the provider answers a hook."""
        return hook in self._own

    def perform(self, kind: Kind, session: PaymentSession, operation: Operation) -> Outcome:
        """Call the hook of an operation.

        Raises:
            Declined: It certainly refused.
            NotApplied: It certainly did not happen. `Mistaken`, if the hook found a mistake of ours.
            OutcomeUnknown: Anything else than an `Outcome` came back.
        """
        seen = self._seen
        if seen is not None:
            seen.reached = False
            seen.error = None
        try:
            answer = self._hooks[kind](session=session, operation=operation)
        except OutcomeUnknown as error:
            raise self._clean(error) from None
        except (Declined, NotApplied, ConfigurationError, InvalidData) as error:
            if seen is not None and seen.reached and error is not seen.error:
                raise OutcomeUnknown(
                    f"a plugin raised {type(error).__name__} after {kind} was sent"
                ) from None
            if isinstance(error, ProviderError):
                raise self._clean(error) from None
            if _is_raised_here(error):
                raise self._unknown(kind, error) from None
            raise self._mistaken(error) from None
        except Exception as error:  # noqa: BLE001 - an unforeseen failure may have happened after the effect
            raise self._unknown(kind, error) from None
        if type(answer) is not Outcome:
            raise OutcomeUnknown(f"{self.name} answered {self._shown(answer)} to {kind}")
        return answer

    def retrieve(self, session: PaymentSession, operation: Operation | None) -> Snapshot:
        """Ask for the gateway's truth.

        Raises:
            NotApplied: It cannot be reached now. `Mistaken`, if the hook found a mistake of ours.
            OutcomeUnknown: It answered something that is no snapshot of this session.
        """
        try:
            answer = self._hooks["retrieve"](session=session, operation=operation)
        except (NotApplied, OutcomeUnknown) as error:
            raise self._clean(error) from None
        except (ConfigurationError, InvalidData) as error:
            if _is_raised_here(error):
                raise self._unknown("retrieve", error) from None
            raise self._mistaken(error) from None
        except Exception as error:  # noqa: BLE001 - the lookup failed, whatever it was
            raise self._unknown("retrieve", error) from None
        if type(answer) is not Snapshot:
            raise OutcomeUnknown(f"{self.name} answered {self._shown(answer)} to retrieve")
        if answer.session_id is not None and answer.session_id != session.id:
            raise OutcomeUnknown(f"{self.name} retrieved an object that carries another session's id")
        found_elsewhere = session.reference is None or answer.reference not in (None, session.reference)
        if answer.status is not None and answer.session_id is None and found_elsewhere:
            # An object that is not the one we know by its reference has to prove that it is ours.
            raise OutcomeUnknown(f"{self.name} retrieved an object that does not carry our session's id")
        return answer

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> tuple[WebhookEvent, ...]:
        """Verify and read a notification.

        Raises:
            WebhookRejected: It cannot be trusted or read, or the provider takes none.
            OutcomeUnknown: It could not be checked now.
        """
        if not self.implements("parse_webhook"):
            raise WebhookRejected(f"{self.name} takes no notifications")
        try:
            events = tuple(self._hooks["parse_webhook"](headers=headers, body=body) or ())
        except WebhookRejected as error:
            raise WebhookRejected(self._said(error)) from None
        except (NotApplied, OutcomeUnknown) as error:
            raise OutcomeUnknown(self._said(error)) from None
        except Exception as error:  # noqa: BLE001 - fail closed, whatever it was
            raise self._unknown("parse_webhook", error) from None
        if not all(type(event) is WebhookEvent for event in events):
            raise OutcomeUnknown(f"{self.name} read something that is no WebhookEvent")
        return events

    def changes(self, since: datetime) -> Changes:
        """Return what changed at the gateway since a time.

        Raises:
            NotApplied, OutcomeUnknown: It could not be read now.
        """
        try:
            answer = self._hooks["changes"](since=since)
        except (NotApplied, OutcomeUnknown) as error:
            raise self._clean(error) from None
        except Exception as error:  # noqa: BLE001 - it is read again later
            raise self._unknown("changes", error) from None
        if type(answer) is not Changes:
            raise OutcomeUnknown(f"{self.name} answered {self._shown(answer)} to changes")
        return answer

    def close(self) -> None:
        """Let the provider go of its connections."""
        if self.implements("close"):
            self._hooks["close"]()

    def _clean(self, error: ProviderError) -> ProviderError:
        """Return what a hook raised, made anew: fit to be shown and stored, whatever class it was of.

        A plugin's own subclass need not have set what the rest relies on, and may carry what shows secrets.
        """
        message, reference = self._said(error), as_text(_part(error, "reference")) or None
        data = _part(error, "data")
        try:
            encode(data, "data")
        except InvalidData as refused:  # what it says of the money counts all the same
            name = type(error).__name__
            logger.warning("%s raised %s with data that cannot be kept: %s", self.name, name, refused)
            data = None
        if isinstance(error, Declined):
            return Declined(
                as_text(_part(error, "code")) or "declined",
                message,
                conclusive=_part(error, "conclusive") is True,
                category=_part(error, "category"),
                payer_message_key=_part(error, "payer_message_key"),
                data=data,
                reference=reference,
            )
        if isinstance(error, NotApplied):
            wait = _part(error, "retry_after")
            return NotApplied(message, retry_after=wait, data=data, reference=reference)
        return OutcomeUnknown(message, data=data, reference=reference)

    def _mistaken(self, error: ConfigurationError | InvalidData) -> Mistaken:
        """Return a mistake of ours that a hook found, made anew."""
        message = self._said(error)
        return Mistaken(
            InvalidData(message) if isinstance(error, InvalidData) else ConfigurationError(message)
        )

    def _said(self, error: PaysessionError) -> str:
        return redact(as_text(_part(error, "message")) or type(error).__name__, self._secrets)

    def _unknown(self, hook: str, error: Exception) -> OutcomeUnknown:
        # The chain is cut: the original's text, and those of the SDK below it, may show secrets.
        text = redact(as_text(error), self._secrets)[:500]
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
        return OutcomeUnknown(f"{self.name} raised {type(error).__name__} in {hook}: {text}{place}")

    def _shown(self, answer: object) -> str:
        try:
            text = repr(answer)
        except Exception:  # noqa: BLE001 - it is no answer in any case
            text = type(answer).__name__
        return redact(text, self._secrets)[:500]


def _is_raised_here(error: Exception) -> bool:
    """Return whether a hook did not raise an error itself, but a value of ours that it made.

    That may have been an answer, with data that cannot be kept, after the gateway had done what was asked.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    module = str(frames[-1].f_globals.get("__name__")) if frames else ""
    return module.partition(".")[0] == __name__.partition(".")[0]


def _part(error: PaysessionError, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - a plugin's own class may compute it, and fail
        return None


_loading: Final = threading.RLock()
"""Held while something is loaded or closed. A fork waits for that: it would stay locked in the child."""

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release
    )


class Registry:
    """The providers and plugins that an application selected; each is loaded when it is first used.

    Args:
        providers: By name: its settings (``{"use": "stripe", ...}`` for another account of the
            plugin ``stripe``), or an instance of a provider.
        plugins: Names of installed plugins, or instances.
        environ: Where settings are looked up that the code does not give.
        allow_mixed_modes: Whether providers of test mode and of live mode may be used together.

    Raises:
        SettingsError: One plugin's name was given where a list is expected, a provider has no name, or
            another value than True or False was given for ``allow_mixed_modes``.
    """

    def __init__(
        self,
        providers: Mapping[str, object],
        plugins: Iterable[object] = (),
        environ: Mapping[str, str] | None = None,
        *,
        allow_mixed_modes: bool = False,
    ) -> None:
        if isinstance(plugins, str):
            raise SettingsError('plugins is a list of names and instances, such as ["audit"]')
        if not isinstance(allow_mixed_modes, bool):
            raise SettingsError("allow_mixed_modes is True or False")
        if not hasattr(plugins, "__iter__"):
            raise SettingsError(f"plugins is a list of names and instances, not {type(plugins).__name__}")
        for name in providers:
            if not isinstance(name, str) or not name or not is_storable(name):
                raise SettingsError(f"a provider is selected by its name, not by {shown(name)}")
        self._selected = dict(providers)
        self._plugin_names = listed(plugins, "plugins")
        self._environ = environ or {}
        self._allow_mixed_modes = allow_mixed_modes
        self._loaded: dict[str, Provider] = {}
        self._plugins: list[tuple[str, object]] | None = None
        self._observers: list[tuple[str, pluggy.PluginManager]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the selected providers."""
        return tuple(self._selected)

    def load_all(self) -> None:
        """Load all that is selected, so that a mistake shows at the start.

        Raises:
            ConfigurationError: The first mistake that is found.
        """
        self.load_plugins()
        for name in self._selected:
            self.provider(name)

    def provider(self, name: str) -> Provider:
        """Return a selected provider.

        Raises:
            ProviderNotFound: It is not selected, or not installed.
            ProviderLoadError: It does not keep the contract.
            SettingsError: Its settings are wrong, or its mode is not that of the others.
        """
        if not isinstance(name, str):
            raise ProviderNotFound(f"a provider is named by a str, not by a {type(name).__name__}")
        loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded
        with _loading:
            if name not in self._loaded:
                provider = self._load(name)
                self._check_mode(provider)
                self._loaded[name] = provider
            return self._loaded[name]

    def _check_mode(self, provider: Provider) -> None:
        if self._allow_mixed_modes:
            return
        others = TEST_MODES if provider.mode == "live" else ("live",) if provider.mode in TEST_MODES else ()
        for other in self._loaded.values():
            if other.mode in others:
                raise SettingsError(
                    f"the provider {provider.name!r} is in {provider.mode} mode and {other.name!r} in "
                    f"{other.mode} mode: test money could pay a live order. Select one mode, or open "
                    "payments with allow_mixed_modes=True"
                )

    def _load(self, name: str) -> Provider:
        if name not in self._selected:
            known = ", ".join(self._selected) or "none"
            raise ProviderNotFound(f"no provider {name!r:.80} is selected; selected are: {known}")
        chosen = self._selected[name]
        wrappers = self.load_plugins()
        if isinstance(chosen, type):
            raise ProviderLoadError(
                f"provider {name!r} is the class {chosen.__name__}: give an instance, {chosen.__name__}(...)"
            )
        if chosen is not None and not hasattr(chosen, "keys"):
            return Provider(name, chosen, wrappers)
        settings = chosen if isinstance(chosen, Table) else Table(chosen or {})  # type: ignore[arg-type]
        use = str(settings.get("use", name))
        found = installed("paysession.providers", use).get(use)
        if found is None:
            offers = ", ".join(installed("paysession.providers")) or "none"
            raise ProviderNotFound(
                f"no installed distribution offers a provider {use!r} (try: pip install paysession-{use}); "
                f"installed are: {offers}"
            )
        plugin = _built(name, found, settings, self._environ)
        return Provider(name, plugin, wrappers, found.distribution)

    def load_plugins(self) -> list[tuple[str, object]]:
        """Load the plugins once; return those that wrap provider hooks, by name.

        Raises:
            ConfigurationError: The first mistake that is found.
        """
        with _loading:
            if self._plugins is None:
                wrappers: list[tuple[str, object]] = []
                observers: list[tuple[str, pluggy.PluginManager]] = []
                for place, chosen in enumerate(self._plugin_names):
                    name, plugin = self._load_plugin(place, chosen)
                    hooks = _implementations(plugin)
                    if PROVIDER_HOOKS & set(hooks):
                        wrappers.append((name, _Part(plugin, PROVIDER_HOOKS)))
                    if OBSERVER_HOOKS & set(hooks):
                        part = _Part(plugin, OBSERVER_HOOKS)
                        observers.append((name, _manager(ObserverHooks, [(name, part)], f"plugin {name!r}")))
                self._plugins, self._observers = wrappers, observers
            return self._plugins

    def _load_plugin(self, place: int, chosen: object) -> tuple[str, object]:
        if isinstance(chosen, type):
            raise ProviderLoadError(
                f"plugin {chosen.__name__} is a class: give an instance, {chosen.__name__}(...)"
            )
        if not isinstance(chosen, str):
            name = f"{type(chosen).__name__} {place}"
            _check_plugin(chosen, f"plugin {type(chosen).__name__}")
            return name, chosen
        found = installed("paysession._plugins.registry", chosen).get(chosen)
        if found is None:
            raise ConfigurationError(f"no installed distribution offers a plugin {chosen!r}")
        plugin = found.load()
        if isinstance(plugin, type):
            plugin = _built(chosen, found, {}, self._environ)
        _check_plugin(plugin, f"plugin {chosen!r} of {found.distribution}")
        return chosen, plugin

    @property
    def observed(self) -> bool:
        """Whether anybody observes."""
        if self._plugins is None:
            self.load_plugins()
        return bool(self._observers)

    def notify(self, hook: str, **arguments: object) -> None:
        """Call every observer; one that raises is logged, and does not stop the next."""
        if self._plugins is None:
            self.load_plugins()
        for name, manager in self._observers:
            try:
                getattr(manager.hook, hook)(**arguments)
            except Exception:  # an observer's failure must not undo what has happened
                logger.exception("the observer %s failed in %s", name, hook)

    def close(self) -> None:
        """Close every provider that was loaded, once; one that fails does not keep the next from it."""
        for name in list(self._loaded):
            provider = self._loaded.pop(name, None)  # None: closed by another thread
            if provider is None:
                continue
            try:
                provider.close()
            except Exception:  # the others are closed all the same
                logger.exception("the provider %s failed to close", provider.name)


class _Part:
    """The hooks of a plugin that belong to one specification, as a plugin of their own."""

    def __init__(self, plugin: object, names: frozenset[str]) -> None:
        for name in _implementations(plugin):
            if name in names:
                setattr(self, name, getattr(plugin, name))
