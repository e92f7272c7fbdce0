"""Findings about the environment (MR0xx) and the billing data (MR1xx)."""

from msgrun.catalogue.entry import CodeInfo

ENTRIES = (
    CodeInfo(
        "MR001",
        "Database unreachable, or schema older than the program",
        "error",
        "msgrun could not open its database, or the tables in it belong to another version of "
        "msgrun than the one installed here. This happens when the database server is down, "
        "when the URL or its password is wrong, or after an upgrade of the program that was "
        "not followed by an upgrade of the database. Nothing is planned or sent, and what is "
        "recorded stays as it is. The check connects with `[database] url` and compares the "
        "revision of the tables with the one this program needs.",
        "Run `msgrun db current` to see both revisions, and `msgrun db upgrade` when the "
        "database is the older one. When it cannot be reached, check that the database server "
        "runs, and check `[database] url` in `msgrun.toml`. When the database is newer than "
        "the program, upgrade msgrun.",
    ),
    CodeInfo(
        "MR002",
        "Clock differs between database and host",
        "warning",
        "The database server's clock and this computer's are more than five seconds apart. "
        "msgrun goes by the database's clock for leases, waits and the rate, so nothing is lost; "
        "but the times in the results do not fit those in the mail server's log, and a "
        "certificate may seem expired. SQLite has no clock of its own. The evidence shows the "
        "difference and both times.",
        "Let both computers set their clocks by NTP; on Linux, `timedatectl` shows whether they "
        "do.",
    ),
    CodeInfo(
        "MR003",
        "Time zones unset or different",
        "warning",
        "Words such as previous-month start from today's date on this computer, so around "
        "midnight its time zone decides which month is meant. The check warns when no time zone "
        "is set or TZ names none that exists, which is silently taken for UTC. It also warns "
        "when your own SELECTs read the billing data in a PostgreSQL session of another zone: an "
        "invoice of the last evening of a month may then count for another period. The evidence "
        "shows the zones.",
        "Set the time zone of the computer, or TZ to an IANA name such as Europe/Berlin. For the "
        "database, set the time zone of its user, or convert with AT TIME ZONE in the SELECT.",
    ),
    CodeInfo(
        "MR004",
        "Disk or spool full",
        "error",
        "A file could not be written: the disk, or the quota of this user, is full, or the folder "
        "may not be written to. Nothing of the message has left, and it has lost no try. The "
        "evidence shows the system's own words.",
        "Free space, or correct the rights on the folder. Then run `msgrun restart RUN`.",
    ),
    CodeInfo(
        "MR005",
        "Unknown setting",
        "error",
        "`msgrun.toml` holds a key that msgrun does not know. Most often it is a typing error, "
        "or a key that stands in the wrong section. msgrun refuses the whole file, because a "
        "setting that is silently ignored could send mail in another way than you asked for. "
        "The evidence names the file, the key and the nearest key that exists.",
        "Correct the key or remove it. A complete commented file for comparison is written by "
        "`msgrun init` in an empty folder.",
    ),
    CodeInfo(
        "MR006",
        "Source mapping broken",
        "error",
        "One of the SELECT statements under `[source]` does not give what msgrun needs from "
        "the billing data: it fails, lacks a required column, returns the same key twice, or "
        "returns a value of the wrong type, such as a date that is not written 2026-10-31. As "
        "long as the billing data cannot be read reliably, nothing is planned or sent. The "
        "evidence names the relation, the column and the value that came.",
        "Correct the SELECT of that relation in `msgrun.toml`; rename columns with `AS`, and "
        "convert dates to text in the form YYYY-MM-DD. Then try `msgrun plan DEFINITION`, "
        "which writes nothing.",
    ),
    CodeInfo(
        "MR090",
        "A check itself crashed",
        "none",
        "A check of the doctor ended with a programming error, so its question stays "
        "unanswered. It says nothing about the customer, the run or the server. The other "
        "checks were still carried out, and nothing was sent or changed.",
        "Report it as a defect of msgrun, with the evidence shown. Read the remaining findings "
        "as they stand.",
    ),
    CodeInfo(
        "MR091",
        "Not determinable",
        "none",
        "A check could not find its answer, for example because the mail server or the "
        "database did not answer in time. Unknown is not the same as wrong: the thing asked "
        "about may be in order. Nothing was sent or changed. When nothing else failed and this "
        "check decides, `msgrun doctor` ends with exit code 5.",
        "Run `msgrun doctor CUSTOMER` again. With `--offline` the checks that need the network "
        "are left out.",
    ),
    CodeInfo(
        "MR101",
        "No such customer",
        "error",
        "The customer code is not in the billing data: it was mistyped, the customer was "
        "deleted or has another code, or the data was not imported. An invoice that names an "
        "unknown customer is skipped with this code, since nobody can tell where it should go. "
        "Codes are compared exactly, including upper and lower case. The evidence lists the "
        "nearest codes and names.",
        "Try one of the codes suggested. If an invoice names the wrong customer, correct the "
        "invoice in the billing data; if the customer is missing, add it, with `msgrun import "
        "customers.csv` when msgrun keeps the data. Then `msgrun restart RUN --failed` looks "
        "at the skipped invoice again.",
    ),
    CodeInfo(
        "MR102",
        "Customer suspended",
        "error",
        "The customer is marked as suspended in the billing data. Suspended customers receive "
        "no messages, whatever else is right, so the invoice is skipped. The check reads the "
        "column `suspended` of the customer as it is now.",
        "If the suspension is intended, nothing is to be done. Otherwise reactivate the "
        "customer in the billing data and run `msgrun restart RUN --failed`; without a run "
        "yet, `msgrun start DEFINITION`.",
    ),
    CodeInfo(
        "MR103",
        "Not in the cluster",
        "error",
        "Clusters are the tree in which customers are grouped. A run covers one cluster and "
        "everything below it, and this customer stands elsewhere in the tree, so its invoices "
        "are not part of the run and have no row in its results. The check follows the tree "
        "from the customer's cluster up to the root and shows where that path leaves the "
        "cluster asked for. With `--no-children` only the customers directly in the cluster "
        "are covered.",
        "If the customer stands in the wrong cluster, move it in the billing data. If the run "
        "was too narrow, start one for a wider cluster: `msgrun start DEFINITION --cluster "
        "NAME`. Invoices that were already sent are not sent again.",
    ),
    CodeInfo(
        "MR104",
        "Cluster loop or orphan",
        "error",
        "The tree of clusters is broken above this customer: a cluster is its own ancestor, "
        "names a parent that does not exist, or the customer's cluster itself does not exist. "
        "Such a customer can be reached from no root, so a run over the tree does not cover "
        "it. The check follows the parents upwards from the customer's cluster; the evidence "
        "shows the path as far as it goes.",
        "Correct the parent of the cluster named in the evidence, or the cluster of the "
        "customer, in the billing data. Then run `msgrun start DEFINITION` again; what was "
        "sent is not sent again.",
    ),
    CodeInfo(
        "MR105",
        "No address under the key",
        "error",
        "A customer can have several mail addresses, each under a key that says what it is "
        "for. The definition takes the addresses under its `recipient_key`, and this customer "
        "has none there, so the invoice is skipped. Addresses under other keys are never used "
        "instead. The evidence shows the key wanted and the keys present.",
        "Add the address under the wanted key in the billing data, or with `msgrun import "
        "addresses.csv`. Then `msgrun restart RUN --failed` looks at the skipped invoice "
        "again.",
    ),
    CodeInfo(
        "MR106",
        "Near-miss key",
        "error",
        "The customer has no address under the definition's `recipient_key`, but one under a "
        "key that looks almost the same. Typical differences are upper and lower case, a space "
        'at the end, a plural ("invoices" for "invoice"), or a letter from another alphabet '
        "that looks alike. msgrun compares keys exactly and never guesses, so the invoice is "
        "skipped. In a run's results this case is counted under MR105; the doctor names it "
        "more exactly.",
        "Rename the key of the address to the wanted one in the billing data. If many "
        "customers have the other key, correct `recipient_key` of the definition instead. Then "
        "run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR107",
        "Malformed address",
        "error",
        "The customer has an address under the right key, but it cannot be a mail address: it "
        "lacks the @, has nothing before or after it, or holds characters that are not allowed "
        "there. Nothing is sent to such an address and the invoice is skipped or failed. Only "
        "the form is checked (RFC 5321 and RFC 5322), not whether the mailbox exists. The "
        "evidence quotes the part that is wrong.",
        "Correct the address in the billing data, or with `msgrun import addresses.csv`. Then "
        "run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR108",
        "Address holds spaces, quotes or several addresses",
        "error",
        "The field for one address holds something more: spaces around it, quotation marks, a "
        "name, or several addresses separated by commas or semicolons. msgrun does not take "
        "such a field apart, because a wrong guess could send the invoice to somebody else. "
        "The invoice is not sent. In a run's results this case is counted under MR107; the "
        "doctor names it more exactly.",
        "Leave only the address in the field. Several recipients are several rows with the "
        "same key; all of them receive the same message. Then run `msgrun restart RUN "
        "--failed`.",
    ),
    CodeInfo(
        "MR109",
        "Non-ASCII local part",
        "error",
        "The part of the address before the @ holds a letter beyond plain English ones, such "
        "as é or ü. Mail can go to such an address only when the mail server offers the "
        "extension SMTPUTF8 (RFC 6531). Where your server offers it, the message is sent "
        "normally; where it does not, the message fails with this code and nothing has left. "
        "Letters such as ü after the @ are no problem: they are converted (IDNA).",
        "Ask the customer for an address in plain ASCII and correct it in the billing data, or "
        "use a mail server that offers SMTPUTF8. Then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR110",
        "Placeholder address (noreply@, example.*)",
        "warning",
        "The address looks like one that was entered only to fill the field: a mailbox such as "
        "noreply@, or a domain that exists only for examples, such as example.com. The message "
        "is sent all the same, because msgrun does not overrule your data, but probably nobody "
        "reads it. The evidence shows what was recognised.",
        "Ask the customer for the real address and correct it in the billing data. To send the "
        "same invoice again to the new address, run `msgrun start DEFINITION --customer CODE "
        "--resend`.",
    ),
    CodeInfo(
        "MR111",
        "Probable domain typo (gmial.com)",
        "warning",
        "The part of the address after the @ is almost the name of a well-known mail provider, "
        "for example gmial.com for gmail.com. The message is sent as the data says, and it may "
        "come back, or reach a stranger who owns the mistyped domain. The evidence shows the "
        "probable domain.",
        "Confirm the address with the customer, and correct it in the billing data. To send "
        "the same invoice again to the new address, run `msgrun start DEFINITION --customer "
        "CODE --resend`.",
    ),
    CodeInfo(
        "MR112",
        "Bounced or suppressed before",
        "error",
        "The last message that the mail server accepted for this address came back, so the "
        "address probably does not work. No rule stops a run from trying it again; the next "
        "message most likely comes back too, and mail to dead addresses harms the sender's "
        "reputation. A later message that did not come back lifts the finding. The evidence "
        "shows which message came back, when, and with which reply.",
        "Ask the customer for an address that works, and correct it in the billing data.",
    ),
    CodeInfo(
        "MR121",
        "No invoice at all",
        "error",
        "The billing data holds no invoice for this customer, so there is nothing to send. The "
        "invoice may not have been created yet, it may stand under another customer code, or "
        "the import of invoices may be missing. The check looks at all periods and all "
        "statuses.",
        "Create the invoice in the billing system, or import it with `msgrun import "
        "invoices.csv`. Then run `msgrun start DEFINITION --customer CODE`.",
    ),
    CodeInfo(
        "MR122",
        "Invoice in another period",
        "error",
        "The customer has invoices, but none in the period asked for. An invoice belongs to "
        "the period that holds its `period_end`; only when that is empty, its `date` decides. "
        "Both days at the boundaries belong to the period. The invoice has no row in the run; "
        "the evidence lists the periods in which the customer has invoices.",
        "If the wrong period was asked for, run `msgrun start DEFINITION --period YYYY-MM "
        "--customer CODE`. If the invoice carries the wrong dates, correct them in the billing "
        "data first.",
    ),
    CodeInfo(
        "MR123",
        "Invoice in the wrong status",
        "error",
        "The invoice is in the right period but in a status that the definition does not send; "
        "usually only Approved invoices are sent. The invoice is skipped. The evidence shows "
        "its number, its status, and the statuses wanted, from `statuses` of the definition. "
        "Statuses are compared exactly as the billing data writes them.",
        "Approve the invoice in the billing system, then run `msgrun restart RUN --failed`. If "
        "the status should be sent, add it to `statuses` of the definition in `msgrun.toml`.",
    ),
    CodeInfo(
        "MR124",
        "Became eligible after the selection was made",
        "error",
        "A run fixes what it covers at the moment it starts. This invoice fulfils every rule "
        "today but did not then: it was approved, or the customer, the address or the document "
        "was corrected, after the run had made its selection. So that run did not send it. The "
        "evidence shows the time of the selection and how things stand now.",
        "If the run has a skipped row for the invoice, run `msgrun restart RUN --failed`. If "
        "it has none, run `msgrun start DEFINITION --period PERIOD --customer CODE`. Neither "
        "sends again what was sent.",
    ),
    CodeInfo(
        "MR125",
        "Already sent under this definition",
        "info",
        "The mail server has already accepted a message with this invoice under the same "
        "definition, or may have done so. An invoice is sent at most once under a definition, "
        "in this run and in any later one, so this time it is skipped. The evidence names the "
        "run, the message and the server's reply.",
        "Usually nothing is to be done; `msgrun doctor CUSTOMER` shows when and where it was "
        "sent. To send it once more on purpose, run `msgrun start DEFINITION --customer CODE "
        "--resend`.",
    ),
    CodeInfo(
        "MR126",
        "Held by another unfinished run",
        "warning",
        "Another run of the same definition already has this invoice and has not finished: it "
        "runs, was stopped, is paused, or waits for a later try. To make sure that the invoice "
        "is not sent twice, this run skips it. The evidence names the other run and its "
        "status.",
        "Look at it with `msgrun show RUN`. Let it finish, continue it with `msgrun restart "
        "RUN`, or give up what it has not sent with `msgrun cancel RUN`. After that the "
        "invoice is free for `msgrun start DEFINITION`.",
    ),
    CodeInfo(
        "MR127",
        "Beyond `--limit`",
        "info",
        "The run was started with `--limit`, and the limit was reached before this invoice. "
        "Messages are counted in the order of customer and invoice, after all other rules were "
        "applied. The invoice is skipped and stays free for a later run.",
        "Run `msgrun start DEFINITION` again without `--limit`, or with another one. What was "
        "sent is not sent again.",
    ),
    CodeInfo(
        "MR128",
        "Its run was cancelled",
        "info",
        "The run that held this invoice was given up with `msgrun cancel` before the invoice "
        "was sent. Everything unsent in it was marked as skipped with this code and is free "
        "for another run. The evidence shows who cancelled the run, and when. A cancelled run "
        "cannot be restarted.",
        "When the reason for cancelling is repaired, run `msgrun start DEFINITION`.",
    ),
)
