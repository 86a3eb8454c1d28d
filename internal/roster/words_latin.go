package main

// The languages that are written in Latin letters.
var latin = []language{
	{
		locale: "en-US", timezone: "America/New_York", region: usEast, tenants: 110, form: "%[2]s %[1]s",
		trades: words("Architects, Bakery, Books, Brewing, Clinic, Credit Union, Dental, Engineering, Foods, Furniture, Garden Supply, " +
			"Hardware, Insurance, Kayaks, Labs, Law, Logistics, Outfitters, Pharmacy, Press, Roofing, Software, Studio, Theater, Veterinary"),
		propers: words("Alder Creek, Bluestem, Cedar Hollow, Copperfield, Driftwood, Elm Street, Foxglove, Granite Bay, Harborlight, " +
			"Ironwood, Juniper Hill, Kestrel, Lakeshore, Maple Grove, Northgate, Old Mill, Pinecrest, Quail Run, Red Barn, Silver Birch, Tidewater, Willow Bend"),
	},
	{
		locale: "en-GB", timezone: "Europe/London", region: euWest, tenants: 50, form: "%[2]s %[1]s",
		trades: words("Bindery, Ceramics, Cycles, Housing Association, Museum, Nurseries, Opticians, Solicitors, Surveyors, Tea Rooms, Trust"),
		propers: words("Ashdown, Briarwood, Coldharbour, Dovecote, Eastmere, Fernleigh, Gorsehill, Heathfield, Little Marsh, Nettlecombe, " +
			"Oakhanger, Puddlewick, Thistledown"),
	},
	{
		locale: "de-DE", timezone: "Europe/Berlin", region: euWest, tenants: 55, form: "%[1]s %[2]s",
		trades: words("Bäckerei=baeckerei, Buchhandlung, Druckerei, Gärtnerei=gaertnerei, Apotheke, Möbelhaus=moebelhaus, Spedition, Tischlerei, " +
			"Brauerei, Küchenstudio=kuechenstudio, Ingenieurbüro=ingenieurbuero"),
		propers: words("Grünwald=gruenwald, Müllerbach=muellerbach, Schönfeld=schoenfeld, Weißenstein=weissenstein, Königstal=koenigstal, " +
			"Lührsen=luehrsen, Hölderich=hoelderich, Bärenkamp=baerenkamp, Jägerhof=jaegerhof, Sonnenblick, Süderholz=suederholz, Drößling=droessling"),
	},
	{
		locale: "fr-FR", timezone: "Europe/Paris", region: euWest, tenants: 55, form: "%[1]s %[2]s",
		trades: words("Boulangerie, Librairie, Imprimerie, Pépinière, Pharmacie, Fromagerie, Ébénisterie, Cabinet, Théâtre, Éditions, Menuiserie, Crêperie"),
		propers: words("Lefrêne, Beauséjour, Châtaignier, Duchêne, Fougères, La Vallée, Montfrère, Préaux, Rivière, Cœur de Lin, Vallières, " +
			"Héron Bleu, Genêt"),
	},
	{
		locale: "es-ES", timezone: "Europe/Madrid", region: euWest, tenants: 40, form: "%[1]s %[2]s",
		trades:  words("Panadería, Librería, Imprenta, Farmacia, Editorial, Bodegas, Cerámicas, Jardinería, Óptica, Peluquería, Ingeniería"),
		propers: words("Núñez, Peñalba, Ibáñez, Castañeda, Montañés, Argüello, Cigüeña, Río Claro, Sierra Añil, Olmeño, Viñedo Alto"),
	},
	{
		locale: "es-MX", timezone: "America/Mexico_City", region: usEast, tenants: 40, form: "%[1]s %[2]s",
		trades:  words("Ferretería, Tortillería, Taquería, Zapatería, Papelería, Talleres, Transportes, Distribuidora, Colegio, Panificadora"),
		propers: words("Quetzal, Xochiquetzal, Colibrí, Agave Azul, Jacarandá, Cempasúchil, Tepozán, Pirul, Ñandutí, Huizache, Tucán"),
	},
	{
		locale: "pt-BR", timezone: "America/Sao_Paulo", region: usEast, tenants: 50, form: "%[1]s %[2]s",
		trades:  words("Padaria, Livraria, Gráfica, Farmácia, Editora, Móveis, Construções, Confecções, Laboratório, Escola, Transportadora"),
		propers: words("Ipê Amarelo, Jatobá, Sabiá, Araucária, São Tomé, Conceição, Pequizeiro, Três Marias, Buriti, Jaçanã, Açaí, Mandacaru"),
	},
	{
		locale: "pl-PL", timezone: "Europe/Warsaw", region: euWest, tenants: 35, form: "%[1]s „%[2]s”",
		trades:  words("Piekarnia, Księgarnia, Drukarnia, Apteka, Kwiaciarnia, Stolarnia, Wydawnictwo, Przedszkole, Hurtownia, Cukiernia"),
		propers: words("Źródło, Żuraw, Łąka, Brzoza, Dąb, Świt, Wierzba, Gęś, Żółw, Jaśmin, Ślimak"),
	},
	{
		locale: "cs-CZ", timezone: "Europe/Prague", region: euWest, tenants: 35, form: "%[1]s %[2]s",
		trades:  words("Pekařství, Knihkupectví, Tiskárna, Lékárna, Květinářství, Truhlářství, Nakladatelství, Pivovar, Zahradnictví, Cukrárna"),
		propers: words("Dvořáček, Říha, Křivánek, Jeřábek, Ježek, Příhoda, Koníček, Skřivan, Bělohoubek, Řezníček, Šťovíček"),
	},
	{
		locale: "ro-RO", timezone: "Europe/Bucharest", region: euWest, tenants: 20, form: "%[1]s „%[2]s”",
		trades:  words("Brutăria, Librăria, Tipografia, Farmacia, Editura, Cofetăria, Grădinița"),
		propers: words("Ghiocel, Brândușa, Rândunica, Măceș, Pădurea, Sălcii, Viișoara"),
	},
	{
		locale: "hu-HU", timezone: "Europe/Budapest", region: euWest, tenants: 25, form: "%[2]s %[1]s",
		trades:  words("Pékség, Könyvesbolt, Nyomda, Patika, Bútor, Kertészet, Kiadó, Cukrászda, Borászat"),
		propers: words("Tölgyfa, Őszirózsa, Fűzfa, Gólya, Hóvirág, Zöldág, Méhecske, Sündisznó, Füstifecske"),
	},
	{
		locale: "tr-TR", timezone: "Europe/Istanbul", region: euWest, tenants: 35, form: "%[2]s %[1]s",
		trades:  words("Fırın, Kitabevi, Eczanesi, Mobilya, Tekstil, Lojistik, Yayınları, Çiçekçilik, Mühendislik, Kırtasiye"),
		propers: words("Çınar, Güneş, Yıldız, Şelale, Kuğu, Ihlamur, Söğüt, Gökkuşağı, Işık, Dağlar, Leylek"),
	},
	{
		locale: "sv-SE", timezone: "Europe/Stockholm", region: euWest, tenants: 35, form: "%[2]s %[1]s",
		trades:  words("Bageri, Bokhandel, Tryckeri, Apotek, Möbler, Trädgård, Åkeri, Förlag, Verkstad, Båtvarv"),
		propers: words("Björklunda, Åkerlid, Sjöstrand, Älvnäs, Östergläntan, Höglid, Blåsippan, Gråsten, Rönnbäck, Tjädern"),
	},
	{
		locale: "da-DK", timezone: "Europe/Copenhagen", region: euWest, tenants: 30, form: "%[2]s %[1]s",
		trades:  words("Bageri, Boghandel, Trykkeri, Møbler, Rederi, Forlag, Bryghus, Værksted, Gartneri"),
		propers: words("Søholm, Ærøgård, Blåklokken, Nørremark, Østerskov, Fælleden, Lærken, Rødhøj, Strandskaden"),
	},
	{
		locale: "vi-VN", timezone: "Asia/Ho_Chi_Minh", region: usEast, tenants: 35, form: "%[1]s %[2]s",
		trades:  words("Nhà sách, Tiệm bánh, Nhà thuốc, Xưởng mộc, Quán cà phê, Trường mầm non, Nhà in, Vườn ươm"),
		propers: words("Hoa Sen, Ánh Dương, Bình Minh, Sông Hồng, Hạnh Phúc, Trúc Xanh, Hải Đăng, Mây Trắng, Bồ Câu"),
	},
}
