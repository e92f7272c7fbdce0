"""Findings about definitions (MR2xx), templates (MR3xx) and documents (MR4xx)."""

from msgrun.catalogue.entry import CodeInfo

ENTRIES = (
    CodeInfo(
        "MR201",
        "No such definition, or disabled",
        "error",
        "The definition asked for is not in `msgrun.toml`, or it has `enabled = false`. A "
        "definition says who a message is from, which address key it goes to, what it says, "
        "and which documents go with it; without one nothing can be sent. The evidence lists "
        "the definitions that exist.",
        "Use one of the names listed, correct the name under `[definitions.NAME]`, or set "
        "`enabled = true`.",
    ),
    CodeInfo(
        "MR202",
        "From key unknown",
        "error",
        "The definition's `from_key` names a sender that is not in `msgrun.toml`. Without a "
        "sender, msgrun knows neither the From address nor the mail server. This concerns "
        "every message of the definition, so nothing is started. The evidence shows the key "
        "and the senders that exist.",
        "Set `from_key` to one of the senders listed, or add a section `[senders.NAME]` with "
        "`address` and `server`.",
    ),
    CodeInfo(
        "MR203",
        "From address invalid",
        "error",
        "The `address` of the sender is not a valid mail address. Every message of the "
        "definition would carry it, and a mail server would refuse it, so nothing is started. "
        "Only the form is checked here; whether your mail server lets you send with it is "
        "shown by MR616.",
        "Correct `address` under `[senders.NAME]` in `msgrun.toml`: one plain address, for "
        "example billing@yourcompany.com. The name shown beside it belongs in `name`.",
    ),
    CodeInfo(
        "MR204",
        "Recipient key that no customer has",
        "error",
        "No customer at all has an address under the definition's `recipient_key`. That is "
        "almost certainly a wrong definition, not many customers without an address. Since "
        "every invoice would be skipped, nothing is started. The evidence counts the addresses "
        "under each key that exists.",
        "Set `recipient_key` of the definition to the key that your billing data uses, or "
        "import the addresses with `msgrun import addresses.csv`.",
    ),
    CodeInfo(
        "MR205",
        "Selects nobody",
        "error",
        "The definition, the cluster and the period together leave not a single message to "
        "send. The evidence shows how many invoices there are at first, and how many fall away "
        "at each rule; the rule where the number drops to zero is the one to look at. Often it "
        "is the wrong period, or invoices that are not approved yet. No run is written.",
        "Widen what the evidence points at: another `--period`, another `--cluster`, approved "
        "invoices, or the `statuses` of the definition. `msgrun plan DEFINITION` shows the "
        "result without sending.",
    ),
    CodeInfo(
        "MR207",
        "Definitions overlap",
        "warning",
        "Two enabled definitions select the same invoices with their usual cluster, period and "
        "statuses. Each definition sends an invoice once, so a customer gets such an invoice "
        "once under each of them. That may be meant, for example a copy for the accountant, and "
        "it may be a mistake. The evidence shows how many invoices they share, some of them, and "
        "the address keys.",
        "Narrow `cluster`, `period` or `statuses` of one of the definitions, or set `enabled = "
        "false`. If it is meant, nothing is to be done.",
    ),
    CodeInfo(
        "MR301",
        "Syntax error",
        "error",
        "The subject or a template of the definition cannot be read, for example because a "
        "`{%` or a `{{` is not closed, or because of a misspelt filter. It concerns every "
        "message, so a run is not started; in a running run the message fails. The evidence "
        "shows the file, the line and what stands there.",
        "Correct the template at that line, and check it with `msgrun plan DEFINITION`. For "
        "messages that failed, run `msgrun restart RUN --failed`, which uses the corrected "
        "template.",
    ),
    CodeInfo(
        "MR302",
        "Undefined variable for this customer",
        "error",
        "The template uses a variable that does not exist, or that this customer does not "
        "have, for example a field of `customer.meta` that is filled for some customers only. "
        "An empty place in an invoice mail would look careless, so msgrun never leaves it "
        "blank: the message fails and is not sent. Other messages go on. The evidence shows "
        "the name and the nearest names that exist.",
        "Correct the name in the template, or give it a substitute: `{{ customer.meta.contact "
        '| default("customer") }}`. If the value is missing in the billing data, fill it. Then '
        "run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR303",
        "Rendering failed or took too long",
        "error",
        "Filling in the template for this message ended with an error, such as dividing by an "
        "empty number, or used up its time or space, such as an endless loop. The message "
        "fails and is not sent; the others go on. The evidence shows the error and the line of "
        "the template.",
        "Correct that line of the template, or the value in the billing data that it stumbles "
        "over. Then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR304",
        "Subject empty, with control characters, or too long",
        "error",
        "The subject, once filled in, is empty, longer than a mail header may be, or holds a "
        "line break or another control character. A line break there could add forged header "
        "lines to the message, so it is never sent in that form. The message fails; the "
        "evidence quotes the subject. Often a name in the billing data was pasted together "
        "with a line break.",
        "Correct `subject` of the definition, or the value in the billing data that is put "
        "into it. Then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR305",
        "Body empty, or `{{` left over",
        "warning",
        "The text of the message, once filled in, is empty, or still holds `{{`, so that a "
        "place holder was probably not replaced. Both mostly come from a mistake in a template "
        "file. A message without any text is never sent: it fails. One with `{{` left over can "
        "be sent, hence the warning; the customer would see exactly that text. The evidence "
        "shows where it stands.",
        "Correct the template file at the place shown, best before the run starts; `msgrun "
        "plan DEFINITION` tries the templates without sending. For messages that failed, run "
        "`msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR401",
        "Document missing (never generated)",
        "error",
        "The definition attaches a document to each invoice, for example its PDF, and this "
        "invoice does not have it. Either the billing data lists no such document, and the "
        "invoice is skipped, or it lists one whose file is not there, and the message fails. "
        "An invoice mail without its invoice is never sent. The evidence shows the kind of "
        "document wanted and the path.",
        "Generate the document in the billing system, or import its row with `msgrun import "
        "documents.csv`; check `documents_root` in `msgrun.toml` if many files are not found. "
        "Then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR402",
        "Unreadable",
        "error",
        "The file of the document is there, but the user under whom msgrun runs may not read "
        "it, or reading it ends with an error. The message fails and is not sent. The evidence "
        "shows the owner and the permissions of the file, or the error.",
        "Give that user the right to read the file and to enter its folders. Then run `msgrun "
        "restart RUN --failed`.",
    ),
    CodeInfo(
        "MR403",
        "Empty, or not what it says it is",
        "error",
        "The document has no content, or its first bytes do not fit its type: a PDF begins "
        "with `%PDF-`. Mostly the program that generated it broke off, or saved an error page "
        "under the name of the invoice. A customer could not open it, so the message fails and "
        "is not sent. The evidence shows the size and the first bytes.",
        "Generate the document again, then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR405",
        "Larger than the server's SIZE",
        "error",
        "The message with its attachments is larger than the mail server says it accepts, in "
        "its SIZE extension (RFC 1870). Attachments grow by about a third on the way, because "
        "mail carries them as text. The message is not sent, since the server would refuse it. "
        "The evidence shows the size of the message and the limit.",
        "Make the document smaller, for example with compressed images, or attach fewer "
        "documents (`documents` of the definition). Or ask the mail administrator for a higher "
        "limit. Then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR406",
        "Type that servers block",
        "warning",
        "The name of an attachment ends in a way that many mail servers turn away whatever the "
        "file holds, such as .exe, .js or .iso. The message is sent; the recipient's server may "
        "refuse it, or deliver it without the file. The evidence shows the name.",
        "Send a PDF in its place: correct the document's name or type in the billing data, or "
        "`documents` of the definition.",
    ),
    CodeInfo(
        "MR407",
        "Outside the documents folder",
        "error",
        "The path of the document leads out of the folder in which documents have to be, "
        "through `..`, an absolute path, or a link. To make sure that no other file of the "
        "computer is ever mailed, msgrun does not open it, and the message fails. The evidence "
        "shows the path as the billing data has it.",
        "Correct the path in the billing data, or set `documents_root` under `[source]` to the "
        "folder that holds all the documents. Then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR408",
        "Password key without a value",
        "error",
        "The definition protects its documents with a value that each customer should have in "
        "its meta, under the name that `password_key` gives, and this customer has none, or none "
        "that can be a password. Nothing is ever sent unprotected instead, so the invoice is "
        "skipped. A document that is no PDF cannot have a password of its own and fails likewise, "
        "unless `zip = true` puts all documents in one archive. The evidence shows the customer "
        "and the field, never the value.",
        "Fill in the value for the customer in the billing data, or set `zip = true` if a document "
        "is no PDF. Then run `msgrun restart RUN --failed`.",
    ),
)
