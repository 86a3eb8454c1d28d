package main

// The languages that are written otherwise. What stands for a word in a DNS name is how it
// is commonly romanised, without marks.
var others = []language{
	// Cyrillic
	{
		locale: "uk-UA", timezone: "Europe/Kyiv", region: euWest, tenants: 30, form: "%[1]s «%[2]s»",
		trades: words("Пекарня=pekarnia, Книгарня=knyharnia, Друкарня=drukarnia, Аптека=apteka, Меблі=mebli, Видавництво=vydavnytstvo, Школа=shkola, Майстерня=maisternia"),
		propers: words("Калина=kalyna, Веселка=veselka, Світанок=svitanok, Джерело=dzherelo, Лелека=leleka, Їжак=yizhak, Дніпро=dnipro, " +
			"Ґанок=ganok, Мрія=mriia"),
	},
	{
		locale: "bg-BG", timezone: "Europe/Sofia", region: euWest, tenants: 20, form: "%[1]s „%[2]s“",
		trades:  words("Пекарна=pekarna, Книжарница=knizharnitsa, Печатница=pechatnitsa, Аптека=apteka, Мебели=mebeli, Издателство=izdatelstvo, Училище=uchilishte"),
		propers: words("Лястовица=lyastovitsa, Роза=roza, Щъркел=shtarkel, Явор=yavor, Изгрев=izgrev, Планина=planina, Здравец=zdravets"),
	},
	{
		locale: "sr-RS", timezone: "Europe/Belgrade", region: euWest, tenants: 15, form: "%[1]s „%[2]s“",
		trades:  words("Пекара=pekara, Књижара=knjizara, Штампарија=stamparija, Апотека=apoteka, Намештај=namestaj, Цвећара=cvecara"),
		propers: words("Ђурђевак=djurdjevak, Љубичица=ljubicica, Њива=njiva, Храст=hrast, Ћук=cuk, Ждрал=zdral, Липа=lipa"),
	},
	// Greek
	{
		locale: "el-GR", timezone: "Europe/Athens", region: euWest, tenants: 30, form: "%[1]s «%[2]s»",
		trades: words("Φούρνος=fournos, Βιβλιοπωλείο=vivliopoleio, Τυπογραφείο=typografeio, Φαρμακείο=farmakeio, Εκδόσεις=ekdoseis, Έπιπλα=epipla, " +
			"Ζαχαροπλαστείο=zacharoplasteio, Εργαστήριο=ergastirio"),
		propers: words("Ελιά=elia, Αλκυόνη=alkyoni, Δελφίνι=delfini, Θάλασσα=thalassa, Κυκλάμινο=kyklamino, Πέλαγος=pelagos, Ρόδι=rodi, " +
			"Χελιδόνι=chelidoni, Φάρος=faros"),
	},
	// Arabic
	{
		locale: "ar-EG", timezone: "Africa/Cairo", region: euWest, tenants: 40, form: "%[1]s %[2]s",
		trades: words("مخبز=makhbaz, مكتبة=maktabat, مطبعة=matbaat, صيدلية=saydaliyat, دار=dar, مدرسة=madrasat, مصنع=masna, حديقة=hadiqat"),
		propers: words("النخيل=alnakhil, الياسمين=alyasmin, النسيم=alnasim, الفجر=alfajr, الزيتون=alzaytun, اللؤلؤ=allulu, البحر=albahr, " +
			"الواحة=alwaha, الهدهد=alhudhud, القمر=alqamar"),
	},
	// Hebrew
	{
		locale: "he-IL", timezone: "Asia/Jerusalem", region: euWest, tenants: 25, form: "%[1]s %[2]s",
		trades: words("מאפיית=maafiyat, הוצאת=hotzaat, דפוס=dfus, בית מרקחת=beit-mirkachat, רהיטי=rahitei, סטודיו=studio, משתלת=mishtelet"),
		propers: words("הגליל=hagalil, הזית=hazayit, הרימון=harimon, השקד=hashaked, הכרמל=hakarmel, הדולפין=hadolfin, הנחליאלי=hanachlieli, " +
			"הירח=hayareach, החצב=hachatzav"),
	},
	// Devanagari
	{
		locale: "hi-IN", timezone: "Asia/Kolkata", region: euWest, tenants: 35, form: "%[2]s %[1]s",
		trades: words("प्रकाशन=prakashan, पुस्तकालय=pustakalay, औषधालय=aushadhalay, विद्यालय=vidyalay, मिष्ठान्न=mishthann, वस्त्रालय=vastralay, " +
			"फर्नीचर=furniture, मुद्रणालय=mudranalay, परिवहन=parivahan"),
		propers: words("हिमालय=himalaya, गंगा=ganga, कमल=kamal, सूर्योदय=suryoday, मयूर=mayur, चंदन=chandan, नीलगिरि=nilgiri, तुलसी=tulsi, " +
			"वसंत=vasant, पीपल=pipal"),
	},
	// Han
	{
		locale: "zh-CN", timezone: "Asia/Shanghai", region: usEast, tenants: 35, form: "%[2]s%[1]s",
		trades: words("书店=shudian, 印刷=yinshua, 药房=yaofang, 科技=keji, 家具=jiaju, 出版社=chubanshe, 茶业=chaye, 物流=wuliu, 糕点=gaodian"),
		propers: words("云杉=yunshan, 青松=qingsong, 白鹭=bailu, 竹海=zhuhai, 晨曦=chenxi, 星河=xinghe, 雪莲=xuelian, 远山=yuanshan, " +
			"南湖=nanhu, 金桂=jingui"),
	},
	{
		locale: "zh-TW", timezone: "Asia/Taipei", region: usEast, tenants: 14, form: "%[2]s%[1]s",
		trades:  words("書局=shuju, 藥局=yaoju, 麵包坊=mianbaofang, 工作室=gongzuoshi, 傢俱=jiaju, 診所=zhensuo"),
		propers: words("杜鵑=dujuan, 榕樹=rongshu, 藍鵲=lanque, 梅嶺=meiling, 稻香=daoxiang, 螢火=yinghuo"),
	},
	// Kana, with Han
	{
		locale: "ja-JP", timezone: "Asia/Tokyo", region: usEast, tenants: 40, form: "%[2]s%[1]s",
		trades: words("書房=shobo, 製菓=seika, 印刷=insatsu, 薬局=yakkyoku, 工務店=komuten, ベーカリー=bakery, デザイン=design, 幼稚園=yochien, クリニック=clinic"),
		propers: words("さくら=sakura, みどり=midori, ひばり=hibari, すみれ=sumire, つばめ=tsubame, こもれび=komorebi, カエデ=kaede, アオイ=aoi, " +
			"ホタル=hotaru, ナギサ=nagisa"),
	},
	// Hangul
	{
		locale: "ko-KR", timezone: "Asia/Seoul", region: usEast, tenants: 40, form: "%[2]s %[1]s",
		trades: words("서점=seojeom, 제과=jegwa, 인쇄=inswae, 약국=yakguk, 가구=gagu, 출판=chulpan, 공방=gongbang, 물류=mullyu, 학원=hagwon"),
		propers: words("솔바람=solbaram, 푸른별=pureunbyeol, 하늘길=haneulgil, 은하수=eunhasu, 달빛=dalbit, 산들=sandeul, 물결=mulgyeol, " +
			"새벽=saebyeok, 무지개=mujigae, 들꽃=deulkkot"),
	},
	// Thai
	{
		locale: "th-TH", timezone: "Asia/Bangkok", region: usEast, tenants: 25, form: "%[1]s%[2]s",
		trades: words("ร้านหนังสือ=ran-nangsue, โรงพิมพ์=rongphim, ร้านขนม=ran-khanom, คลินิก=khlinik, โรงเรียน=rongrian, สำนักพิมพ์=samnakphim, " +
			"ร้านดอกไม้=ran-dokmai"),
		propers: words("ดอกบัว=dokbua, ช้างน้อย=changnoi, จันทร์เพ็ญ=chanphen, ปลาทอง=plathong, ต้นสัก=tonsak, สายรุ้ง=sairung, ภูเขา=phukhao, " +
			"มะลิ=mali, ชบา=chaba"),
	},
}
