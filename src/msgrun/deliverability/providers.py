"""The large providers of mailboxes: their domains, their own servers, their thresholds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

BULK: Final = 5000
"""Messages a day to one provider from which on its rules for bulk senders hold."""

_GOOGLE: Final = "gmail.com googlemail.com"
_MICROSOFT: Final = (
    "outlook.com outlook.de outlook.fr outlook.es outlook.it outlook.jp outlook.com.br "
    "hotmail.com hotmail.co.uk hotmail.de hotmail.fr hotmail.it hotmail.es hotmail.nl hotmail.be "
    "live.com live.co.uk live.de live.fr live.it live.nl live.be live.ca live.com.au msn.com"
)
_YAHOO: Final = (
    "yahoo.com yahoo.co.uk yahoo.de yahoo.fr yahoo.it yahoo.es yahoo.ca yahoo.in yahoo.co.in "
    "yahoo.co.jp yahoo.com.br yahoo.com.au yahoo.com.mx yahoo.ie ymail.com rocketmail.com "
    "aol.com aol.de aol.fr aol.co.uk aim.com"
)
_PROVIDERS: Final[Mapping[str, str]] = {
    domain: provider
    for provider, domains in (("Google", _GOOGLE), ("Microsoft", _MICROSOFT), ("Yahoo", _YAHOO))
    for domain in domains.split()
}

_FREE: Final[Mapping[str, tuple[str, str]]] = {
    # provider: its domains, and the endings of its own servers' names
    "Google": (_GOOGLE, "gmail.com googlemail.com google.com"),
    "Microsoft": (_MICROSOFT, "office365.com outlook.com hotmail.com live.com"),
    "Yahoo": (_YAHOO, "yahoo.com yahoo.co.jp yahoodns.net aol.com"),
    "Apple": ("icloud.com me.com mac.com", "me.com icloud.com"),
    "GMX": ("gmx.de gmx.net gmx.at gmx.ch gmx.com gmx.us mail.com", "gmx.net gmx.com mail.com"),
    "WEB.DE": ("web.de", "web.de"),
    "Telekom": ("t-online.de magenta.de", "t-online.de"),
    "Freenet": ("freenet.de", "freenet.de"),
    "Proton": ("proton.me protonmail.com protonmail.ch pm.me", "proton.me protonmail.ch"),
    "Zoho": ("zohomail.com zohomail.eu", "zoho.com zoho.eu"),
    "Yandex": ("yandex.ru yandex.com ya.ru", "yandex.ru yandex.com yandex.net"),
    "Mail.ru": ("mail.ru inbox.ru list.ru bk.ru", "mail.ru"),
    "Orange": ("orange.fr wanadoo.fr", "orange.fr"),
    "Free": ("free.fr", "free.fr"),
    "La Poste": ("laposte.net", "laposte.net"),
    "SFR": ("sfr.fr neuf.fr", "sfr.fr"),
    "Libero": ("libero.it virgilio.it", "libero.it virgilio.it"),
    "Seznam": ("seznam.cz email.cz", "seznam.cz"),
    "WP": ("wp.pl o2.pl", "wp.pl o2.pl"),
    "Onet": ("onet.pl op.pl", "onet.pl"),
    "Bluewin": ("bluewin.ch", "bluewin.ch"),
    "Comcast": ("comcast.net", "comcast.net"),
    "BT": ("btinternet.com", "btinternet.com"),
    "Tencent": ("qq.com foxmail.com", "qq.com"),
    "NetEase": ("163.com 126.com yeah.net", "163.com 126.com yeah.net"),
    "Naver": ("naver.com", "naver.com"),
    "UOL": ("uol.com.br bol.com.br", "uol.com.br"),
    "Rediff": ("rediffmail.com", "rediffmail.com"),
}
_FREE_DOMAINS: Final[Mapping[str, str]] = {
    domain: provider for provider, (domains, _) in _FREE.items() for domain in domains.split()
}


def free_mail(domain: str, host: str) -> str | None:
    """Return the provider of a free-mail domain whose mail leaves by another's server.

    Args:
        domain: of the From address.
        host: the server that takes the messages.
    """
    provider = _FREE_DOMAINS.get(domain.lower())
    if provider is None:
        return None
    host = host.lower().rstrip(".")
    own = _FREE[provider][1].split()
    return None if any(host == each or host.endswith(f".{each}") for each in own) else provider


def provider_of(domain: str) -> str | None:
    """Return the provider with rules for bulk senders that a domain belongs to; None for others."""
    return _PROVIDERS.get(domain.lower())


def mailbox_provider(domain: str) -> str | None:
    """Return who keeps the mailboxes of a domain, of the large providers; None for others."""
    return _FREE_DOMAINS.get(domain.lower())


def domains_of(provider: str) -> list[str]:
    """Return the domains of a provider with rules for bulk senders."""
    return [domain for domain, each in _PROVIDERS.items() if each == provider]


def over_threshold(domains: Iterable[str], threshold: int = BULK) -> dict[str, int]:
    """Return how many recipients each provider has, of those that have at least `threshold`."""
    counts = Counter(provider_of(domain) for domain in domains)
    return {
        provider: number
        for provider, number in sorted(counts.items(), key=lambda item: -item[1] if item[0] else 0)
        if provider is not None and number >= threshold
    }
